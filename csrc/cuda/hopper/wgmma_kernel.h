// The prefix part of slab_attention.cu on Hopper: one thread has tiles of keys and values copied by
// the tensor memory accelerator, two warpgroups multiply by wgmma, each with queries, scores and
// sums in its registers.
#pragma once

#include "../fragments.h"
#include "descriptor.h"
#include "warpgroup.h"

namespace t2 {

constexpr int kGroupThreads = 128;  // of a warpgroup
constexpr int kConsumers = 2;       // warpgroups that multiply; another one has tiles copied
constexpr int kConsumerThreads = kConsumers * kGroupThreads;
constexpr int kTileKeys = 128;
constexpr int kThreads = kConsumerThreads + kGroupThreads;
constexpr int kConsumerWarps = kConsumerThreads / kWarpSize;
constexpr int kAtom = 1024;     // bytes; see descriptor.h
constexpr int kPanelRow = 128;  // bytes of a panel's row: 64 columns
constexpr int kPanel = kTileKeys * kPanelRow;

// Of 168 that each of the threads starts with.
constexpr int kProducerRegisters = 56, kConsumerRegisters = 224;
static_assert(kProducerRegisters + kConsumers * kConsumerRegisters <= (1 + kConsumers) * 168);

// Tiles of keys and tiles of values in turn, in slots that the producer fills and the consumers
// empty. A slot has a barrier for each to say so.
template <int kWidth>
struct Slots {
  static constexpr int kCount = kWidth == 64 ? 8 : 6;
  static constexpr int kBytes = kTileKeys * kWidth * 2;
  static constexpr size_t kSharedBytes = kAtom + kCount * (kBytes + 2 * sizeof(uint64_t));
  static_assert(kWidth % 64 == 0 && kBytes % kAtom == 0);

  uint32_t address;  // a multiple of kAtom

  __device__ explicit Slots(const void* shared)
      : address((shared_address(shared) + kAtom - 1) / kAtom * kAtom) {}

  __device__ uint32_t full(int tile) const {
    return address + kCount * kBytes + tile % kCount * 2 * sizeof(uint64_t);
  }
  __device__ uint32_t empty(int tile) const { return full(tile) + sizeof(uint64_t); }
  __device__ static int parity(int tile) { return tile / kCount % 2; }
  __device__ uint32_t at(int tile) const { return address + tile % kCount * kBytes; }

  __device__ void init() const {
    for (int slot = 0; slot < kCount; ++slot) {
      barrier_init(full(slot), 1);
      barrier_init(empty(slot), kConsumerWarps);
    }
    fence_for_products();
  }

  // By one lane of each consuming warp, whose products have read the tile.
  __device__ void release(int tile) const {
    if (threadIdx.x % kWarpSize == 0) barrier_arrive(empty(tile));
  }
};

// The thread that has tiles copied, in panels of 64 columns. A box has kTileKeys rows: those past
// an item's keys are copied as well, and are whatever lies there, or zeros past the store.
template <int kWidth>
struct Producer {
  const Slots<kWidth> slots;
  int filled = 0;  // tiles whose copies have been started

  __device__ void fill(const CUtensorMap& boxes, int key, int kv_head) {
    barrier_wait(slots.empty(filled), slots.parity(filled) ^ 1);
    barrier_expect(slots.full(filled), slots.kBytes);
#pragma unroll
    for (int panel = 0; panel < kWidth / 64; ++panel) {
      copy_box(slots.at(filled) + panel * kPanel, boxes, 64 * panel, key, kv_head,
               slots.full(filled));
    }
    ++filled;
  }
};

// What a warp has of sixteen of its warpgroup's queries.
template <typename T, int kWidth>
struct Consumer : Softmax<kWidth> {
  uint32_t q[kWidth / 16][4];

  __device__ void read(const Item& item, int first, int kv_head, const Problem<T>& p) {
    const T* const rows = queries_of(p, item, kv_head) + int64_t(first) * kWidth;
    read_queries(q, rows, item.queries - first, p);
  }

  // Values past num_keys may be nan, which a weight of 0 would not hide: they become zeros, by all
  // consumers together, before any of them multiplies.
  __device__ static void clear_rest(const Slots<kWidth>& slots, int tile, int num_keys) {
    for (int panel = 0; panel < kWidth / 64; ++panel) {
      const uint32_t first = slots.at(tile) + panel * kPanel;
      for (int at = num_keys * kPanelRow + threadIdx.x * 16; at < kPanel;
           at += kConsumerThreads * 16) {
        store_zeros(first + at);
      }
    }
    fence_for_products();
    sync_threads<1, kConsumerThreads>();
  }

  // The tile of keys, and the tile of values after it.
  __device__ void attend(const Slots<kWidth>& slots, int tile, int num_keys, float scale) {
    float scores[kTileKeys / 8][4];
    barrier_wait(slots.full(tile), slots.parity(tile));
    products_begin(q);
#pragma unroll
    for (int step = 0; step < kWidth / 16; ++step) {
      const uint32_t at = slots.at(tile) + step / 4 * kPanel + step % 4 * 32;
      group_multiply<T, false>(scores, q[step], describe(at, 16), step > 0);
    }
    products_end(scores);
    slots.release(tile);

    uint32_t weights[kTileKeys / 16][4];
    this->template weigh<T, kTileKeys>(weights, scores, num_keys, scale);
    barrier_wait(slots.full(tile + 1), slots.parity(tile + 1));
    if (num_keys < kTileKeys) clear_rest(slots, tile + 1, num_keys);
    products_begin(this->acc, weights);
#pragma unroll
    for (int step = 0; step < kTileKeys / 16; ++step) {
      const uint32_t at = slots.at(tile + 1) + step * 16 * kPanelRow;
      group_multiply<T, true>(this->acc, weights[step], describe(at, kPanel), true);
    }
    products_end(this->acc);
    slots.release(tile + 1);
  }

  __device__ void write(const Item& item, int first, int kv_head, const Problem<T>& p) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = sum_of_lanes<4>(this->mass[half]);
      const int query = first + fragment_row() + 8 * half;
      if (query >= item.queries) continue;
      const int64_t state = state_of(p, item, kv_head, query);
      if (threadIdx.x % 4 == 0) p.lse[state] = this->top[half] * kLn2 + logf(total);
      const float factor = 1 / total;
#pragma unroll
      for (int n = 0; n < kWidth / 8; ++n) {
        write_pair(p.state + state * kWidth, 8 * n + fragment_column(),
                   this->acc[n][2 * half] * factor, this->acc[n][2 * half + 1] * factor, p);
      }
    }
  }
};

// A block takes every gridDim.x-th piece of work: an item, 128 queries of one kv head against
// one split of the keys. The last warpgroup's first thread has tiles copied, ahead into the next
// item; the other warpgroups have half of the queries each. keys, values: boxes of kTileKeys rows
// of prefix_k and prefix_v.
template <typename T, int kWidth>  // kWidth == head_dim
__global__ void __launch_bounds__(kThreads, 1)
    wgmma_prefix_kernel(const Problem<T> p, const __grid_constant__ CUtensorMap keys,
                        const __grid_constant__ CUtensorMap values) {
  extern __shared__ float4 shared[];
  const Slots<kWidth> slots(shared);
  if (threadIdx.x == 0) slots.init();
  __syncthreads();
  const int group = threadIdx.x / kGroupThreads;
  const int64_t work = p.num_items * p.num_kv_heads;
  if (group == kConsumers) {
    lower_registers<kProducerRegisters>();
    if (threadIdx.x % kGroupThreads > 0) return;
    Producer<kWidth> producer{slots};
    for (int64_t i = blockIdx.x; i < work; i += gridDim.x) {
      const Item item = item_at(p, i % p.num_items);
      const int kv_head = int(i / p.num_items);
#pragma unroll 1
      for (int key = item.start; key < item.stop; key += kTileKeys) {
        producer.fill(keys, key, kv_head);
        producer.fill(values, key, kv_head);
      }
    }
    return;
  }
  raise_registers<kConsumerRegisters>();
  const int row = threadIdx.x / kWarpSize * kWarpRows;
  int tile = 0;
  for (int64_t i = blockIdx.x; i < work; i += gridDim.x) {
    const Item item = item_at(p, i % p.num_items);
    const int kv_head = int(i / p.num_items);
    Consumer<T, kWidth> consumer;
    consumer.read(item, item.query + row, kv_head, p);
#pragma unroll 1
    for (int key = item.start; key < item.stop; key += kTileKeys) {
      consumer.attend(slots, tile, item.stop - key, p.scale);
      tile += 2;
    }
    // Read again: kept until here it would cost registers.
    const Item done = item_at(p, i % p.num_items);
    consumer.write(done, done.query + row, kv_head, p);
  }
}

}  // namespace t2
