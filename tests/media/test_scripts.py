"""Texts in other scripts than Latin are counted, unless they are few."""

from __future__ import annotations

import pytest

from imer.media.scripts import in_other_scripts


@pytest.mark.parametrize(
    "text", ["我很高兴。", "とても嬉しい", "Я так рада!", "أنا سعيد جدا", "ich: 我很高兴", "정말 기뻐요 :)"]
)
def test_another_script(text: str) -> None:
    assert in_other_scripts([text]) == 1


@pytest.mark.parametrize(
    "text",
    ["so glad", "Ça va très bien, merci.", "ＦＵＬＬ", "12:30 – 100 %", "😀 …", "", None, "the word 我 alone", "Đặng"],
)
def test_latin_or_no_letters_at_all(text: str | None) -> None:
    assert in_other_scripts([text]) == 0


def test_few_of_many_are_names_and_quotations() -> None:
    assert in_other_scripts(["so glad"] * 18 + ["Я рада"] * 2) == 0
    assert in_other_scripts(["so glad"] * 17 + ["Я рада"] * 2 + [None] * 50) == 2
