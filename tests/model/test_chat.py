from __future__ import annotations

import json
import time

import pytest
import transformers

from t2engine.model.chat import read_chat_template
from tests.model.tiny import byte_level_tokenizer

CHATML = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson }}
        {{- '\\n' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}
        {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
HEADERS = """\
{{- bos_token }}
{%- if not date_string is defined %}{% set date_string = strftime_now("%Y") %}{% endif %}
{% set ns = namespace(count=0, previous=none) %}
{% for message in messages %}
    {% if message.role not in ['system', 'user', 'assistant'] %}
        {{ raise_exception('unknown role ' ~ message.role) }}
    {% endif %}
    {% if message.role == ns.previous %}{% continue %}{% endif %}
    {% set ns.count = ns.count + 1 %}
    {% set ns.previous = message.role %}
<|start|>{{ message.role }}<|end|> {{ loop.index }}/{{ loop.length }} in {{ date_string }}
{{ message.content }}{{ eos_token }}
{% endfor %}
{{ ns.count }}{% if add_generation_prompt %} assistant:{% endif %}
"""
MACROS = """\
{%- macro block(role, text) -%}
[{{ role | upper }}] {{ text }}{{ '!' * 3 }}
{%- endmacro -%}
{%- for message in messages | rejectattr('role', 'equalto', 'system') | list %}
{%- if message.role == 'assistant' %}
{% generation %}{{ block('a', message.content) }}{% endgeneration %}
{%- else %}{{ block(message.role, {'text': message.content, 'id': 1} | tojson(indent=2)) }}
{%- endif %}
{%- for part in message.content.split(' ')[:2] %}
<{{ part }}{{ '' if loop.last else ',' }}>{% endfor %}
{%- endfor %}
"""
MESSAGES = [
    {"role": "user", "content": " Wie viel ist <1 + 2>?  "},
    {"role": "assistant", "content": "Drei — 三"},
    {"role": "user", "content": 'And "quotes" & 👩 ?'},
]
SYSTEM = [{"role": "system", "content": "Be brief."}]
TOOLS = [{"type": "function", "function": {"name": "add", "description": "<b>é</b>"}}]
TOKENS = {"bos_token": "<s>", "eos_token": {"content": "</s>", "special": True}}


@pytest.fixture
def oracle():
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=byte_level_tokenizer(add_bos=False), bos_token="<s>", eos_token="</s>"
    )


def write(directory, template=None, in_config=None):
    if template is not None:
        (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    config = TOKENS | ({} if in_config is None else {"chat_template": in_config})
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory


@pytest.mark.parametrize("template", [CHATML, HEADERS, MACROS], ids=["chatml", "headers", "macros"])
@pytest.mark.parametrize("messages", [MESSAGES, SYSTEM + MESSAGES[:1]], ids=["long", "system"])
@pytest.mark.parametrize("prompted", [True, False])
def test_renders_as_transformers_does(tmp_path, oracle, template, messages, prompted):
    chat = read_chat_template(write(tmp_path, template))
    for tools in (None, TOOLS):
        options = {"add_generation_prompt": prompted, "tools": tools}
        want = oracle.apply_chat_template(
            messages, chat_template=template, tokenize=False, **options
        )
        assert chat.render(messages, **options) == want
    assert messages[-1]["content"].split()[0] in want


def test_variables_reach_the_template(tmp_path):
    chat = read_chat_template(write(tmp_path, HEADERS))
    assert "in 26 Jul" in chat.render(MESSAGES, date_string="26 Jul")


def test_the_file_goes_before_the_config(tmp_path):
    write(tmp_path, "from the file", in_config="from the config")
    assert read_chat_template(tmp_path).render(MESSAGES) == "from the file"
    (tmp_path / "chat_template.jinja").unlink()
    assert read_chat_template(tmp_path).render(MESSAGES) == "from the config"


def test_named_templates(tmp_path):
    named = [{"name": "default", "template": "D"}, {"name": "rag", "template": "R{{ eos_token }}"}]
    write(tmp_path, in_config=named)
    assert read_chat_template(tmp_path).render(MESSAGES) == "D"
    assert read_chat_template(tmp_path, "rag").render(MESSAGES) == "R</s>"
    with pytest.raises(ValueError, match=r"no chat template 'tools'; found \['default', 'rag'\]"):
        read_chat_template(tmp_path, "tools")


def test_additional_template_files(tmp_path):
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "rag.jinja").write_text("R")
    assert read_chat_template(tmp_path, "rag").render(MESSAGES) == "R"


def test_no_template_at_all(tmp_path):
    assert read_chat_template(tmp_path) is None
    assert read_chat_template(write(tmp_path)) is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"chat_template": 3}, "chat_template must be a text or a list"),
        ({"chat_template": [{"name": "default"}]}, "chat_template must be a text or a list"),
        ({"bos_token": 3}, "bos_token must be a text or an object"),
    ],
)
def test_a_bad_config_is_named(tmp_path, config, message):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        read_chat_template(tmp_path)


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"chat_template\.jinja: must be UTF-8 text"):
        read_chat_template(tmp_path)


@pytest.mark.parametrize("messages", [[], ["hello"], [{"role": object()}], [{"role": {1, 2}}]])
def test_bad_messages(tmp_path, messages):
    with pytest.raises(ValueError, match="messages must be"):
        read_chat_template(write(tmp_path, CHATML)).render(messages)


LONG = "{% for i in range(99999) %}"
HOSTILE = {
    "dunder of a text": "{{ ''.__class__.__mro__ }}",
    "dunder by subscript": "{{ ''['__class__']['__base__'] }}",
    "dunder by filter": "{{ (''|attr('__class__')).mro() }}",
    "dunder of a function": "{{ raise_exception.__globals__['json'] }}",
    "dunder by format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "globals of a macro": "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}",
    "the environment": "{{ self.__init__.__globals__ }}",
    "changes its input": "{{ messages.append(1) }}",
    "includes a file": "{% include '/etc/passwd' %}",
    "imports": "{% import 'os' as os %}",
    "huge range": "{% for i in range(1000000000) %}{% endfor %}",
    "nested loops": LONG + LONG + "{% endfor %}{% endfor %}",
    "quiet loops": LONG + "{% for j in range(99999) if false %}{% endfor %}{% endfor %}",
    "recursive loops": "{% for i in range(9999) recursive %}{{ loop(range(9999)) }}{% endfor %}",
    "calls": "{% macro m(n) %}{{ m(n-1) if n }}{{ m(n-1) if n }}{% endmacro %}{{ m(60) }}",
    "endless calls": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "long text": "{{ 'a' * 1000000000 }}",
    "long list": "{{ 1000000000 * [0] }}",
    "big number": "{{ 9 ** 9 ** 9 }}",
    "doubling": "{% set n = namespace(x='a') %}" + LONG + "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "doubling by calls": "{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}{{ m('aaaaaaaa') }}",
    "long result": LONG + "{{ 'a' * 9999 }}{% endfor %}",
}


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template_is_refused(tmp_path, template):
    chat = read_chat_template(write(tmp_path, template))
    start = time.process_time()
    with pytest.raises(ValueError, match=r"chat_template\.jinja: chat template failed") as error:
        chat.render(MESSAGES)
    assert time.process_time() - start < 10
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for %}", "TemplateSyntaxError"),
        ("{{ raise_exception('roles must\nalternate') }}", r"roles must\\nalternate"),
        ("{{ nothing.at_all }}", "'nothing' is undefined"),
        ("{{ 1 / 0 }}", "division by zero"),
    ],
)
def test_a_template_that_fails_says_why(tmp_path, template, reason):
    with pytest.raises(ValueError, match=reason):
        read_chat_template(write(tmp_path, template)).render(MESSAGES)
