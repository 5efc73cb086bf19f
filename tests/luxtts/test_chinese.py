"""Chinese and mixed text: upstream's own readings of a hundred texts, and how numbers and lines are read by default."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kernelport.text import passages_of
from kernelport_workers.luxtts.checkpoint import read_tokens
from kernelport_workers.luxtts.chunking import chunks
from kernelport_workers.luxtts.tokenizer import Tokenizer
from tests.luxtts.conftest import GOLDEN, spell
from tests.needs import PIPER_PHONEMIZE

for package in ("jieba", "pypinyin", "cn2an"):
    pytest.importorskip(package)

# Made by upstream's tokenizer itself (ZipVoice 2f7326f, jieba 0.42.1, pypinyin 0.55, cn2an 0.5.24, piper-phonemize
# 1.1.0): the tokens of each text, and the ids of those that are in the table.
READINGS: list[dict[str, Any]] = json.loads((GOLDEN / "chinese.json").read_text(encoding="utf-8"))
TABLE = read_tokens(GOLDEN / "tokens.txt")
TOKENIZER = Tokenizer(TABLE)
SPELLER = Tokenizer(TABLE, spell)
_MIXED = [each for each in READINGS if any(token in "ˈˌə" for token in each["tokens"])]


def pieces(text: str) -> list[str]:
    return [piece.text.text.strip() for piece in SPELLER.pieces(passages_of(text, chinese=True))]


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return [token for chunk in chunks(tokenizer, passages_of(text, chinese=True)) for token in chunk.tokens]


def test_the_table_has_a_hundred_readings() -> None:
    assert len(READINGS) == 100
    assert len(_MIXED) >= 15


@pytest.mark.parametrize(
    "reading",
    [pytest.param(each, id=each["text"][:12], marks=[PIPER_PHONEMIZE] if each in _MIXED else []) for each in READINGS],
)
def test_upstream_mode_reads_as_upstream_does(reading: dict[str, Any]) -> None:
    assert TOKENIZER.encode(reading["text"], upstream=True) == reading["ids"]
    assert reading["ids"] == [TABLE[token] for token in reading["tokens"] if token in TABLE]


def _is_plain(text: str) -> bool:
    """Whether it has nothing that is read otherwise on purpose."""
    return not (any(map(str.isdigit, text)) or set("（[\n") & set(text))


@pytest.mark.parametrize(
    "reading",
    [each for each in READINGS if each not in _MIXED and _is_plain(each["text"])],
    ids=lambda each: each["text"][:12],
)
def test_plain_chinese_is_read_alike_by_default(reading: dict[str, Any]) -> None:
    assert ids(SPELLER, reading["text"]) == reading["ids"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("会议从14:30开始。", "会议从14点30分开始."),
        ("早上8:05出发", "早上8点零5分出发"),
        ("周一至周五9:00-18:00营业。", "周一至周五9点到18点营业."),
        ("价格是1,250,000元。", "价格是1250000元."),
        ("一共花了￥99.9。", "一共花了99.9元."),
        ("他花了$20。", "他花了20美元."),
        ("我的电话是13800138000。", "我的电话是一三八零零一三八零零零."),
        ("气温降到了-5℃。", "气温降到了零下5摄氏度."),
        ("这条路长3.5km。", "这条路长3.5公里."),
        ("2024-05-01放假。", "2024年5月1日放假."),
        ("比分是3:2。", "比分是3比2."),
        ("从10%-20%不等。", "从10%到20%不等."),
        ("第3-5页。", "第3到5页."),
    ],
)
def test_numbers_are_read_as_they_are_said(text: str, expected: str) -> None:
    assert pieces(text) == [expected]


def test_numbers_of_an_english_sentence_stay_english() -> None:
    assert pieces("We met 李明 at 5:05 pm, 3 km away.") == [
        "We met",
        "李明",
        "at five oh five PM, three kilometers away.",
    ]


def test_hard_wrapped_chinese_is_one_paragraph_without_spaces() -> None:
    lines = [
        "今天天气很好，我们一起去公园里散步，看见了很多花。",
        "后来下雨了，我们就回家了，在家里看了一部电影，",
        "晚上吃了饭。",
    ]
    assert ids(SPELLER, "\n".join(lines)) == ids(SPELLER, "".join(lines))
    assert [passage.text.text for passage in passages_of("床前明月光\n疑是地上霜", chinese=True).passages] == [
        "床前明月光",
        "疑是地上霜",
    ]


def test_syllables_in_brackets_are_part_of_their_word() -> None:
    assert ids(SPELLER, "重<chong2>新") == [TABLE[token] for token in ("zh0", "ong4", "ch0", "ong2", "x0", "in1")]
