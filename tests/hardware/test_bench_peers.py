"""Other engines beside ours: what is missing is said, what cannot be held is left out."""

from __future__ import annotations

import sys
from types import SimpleNamespace

from t2engine.hardware import bench_peers
from t2engine.hardware.bench_peers import Transformers, peer_calls
from t2engine.hardware.bench_plan import BenchSettings, CallShape
from t2engine.hardware.llama_cpp import LlamaCppModel


def test_missing_peers_say_what_to_install(llm, monkeypatch):
    monkeypatch.setattr(bench_peers, "is_installed", lambda module: False)
    peers, left_out = bench_peers.find_peers(BenchSettings(peers=True), llm)
    assert peers == []
    assert "pip install transformers" in left_out["transformers"]
    assert "pip install llama-cpp-python" in left_out["llama-cpp-python"]


def test_a_gguf_is_asked_for_where_llama_cpp_is_installed(llm, monkeypatch):
    monkeypatch.setattr(bench_peers, "is_installed", lambda module: module == "llama_cpp")
    _, left_out = bench_peers.find_peers(BenchSettings(peers=True), llm)
    assert left_out["llama-cpp-python"] == "needs the model as a GGUF file; give --gguf FILE"


def test_what_a_peer_cannot_hold_is_left_out(tiny_dir, llm, monkeypatch):
    peer = Transformers(tiny_dir, llm.config, "float32", 1)
    monkeypatch.setattr(bench_peers, "available_bytes", lambda: 1 << 16)
    calls, left_out = peer_calls([peer], [CallShape(1, 8, 4), CallShape(4, 100, 4)])
    assert [call.shape for call in calls] == [CallShape(1, 8, 4)]
    assert "expected at most 0 MiB" in left_out["transformers, n = 4, P = 100"]


class LlamaCppApi:
    """The part of llama-cpp-python's low-level calls that is used, which notes what it is given."""

    LLAMA_FLASH_ATTN_TYPE_AUTO = -1

    def __init__(self):
        self.decoded, self.freed = [], 0

    def __getattr__(self, name):
        if name.endswith("_params"):
            return SimpleNamespace
        return lambda *arguments: 1

    def llama_batch_init(self, size, embedding, sequences):
        ids = [[None] for _ in range(size)]
        sizes = {name: [None] * size for name in ("token", "pos", "n_seq_id", "logits")}
        return SimpleNamespace(n_tokens=0, seq_id=ids, **sizes)

    def llama_decode(self, context, batch):
        rows = range(batch.n_tokens)
        self.decoded.append([(batch.pos[i], batch.seq_id[i][0], batch.logits[i]) for i in rows])
        return 0

    def llama_free(self, context):
        self.freed += 1


def test_llama_cpp_decodes_the_prompt_once_and_every_sequence_each_step(monkeypatch, tmp_path):
    api = LlamaCppApi()
    monkeypatch.setitem(sys.modules, "llama_cpp", SimpleNamespace(llama_cpp=api, __version__="0"))
    model = LlamaCppModel(tmp_path / "model.gguf", 1)
    seconds = model.time_call([1, 2, 3], 2, 2, "unified")
    assert api.decoded == [
        [(0, 0, False), (1, 0, False), (2, 0, True)],
        [(3, 0, True), (3, 1, True)],
        [(4, 0, True), (4, 1, True)],
    ]
    assert min(seconds.prefill, seconds.first_step, seconds.other_steps) > 0
    assert api.freed == 1
