"""Rules of `harness/strict_yaml.py`: YAML from strangers is read one way only, or refused with a useful message."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from harness.errors import HlbenchError, SubmissionError
from harness.strict_yaml import MAX_BYTES, StrictModel, load_yaml, parse_model


class Sgd(StrictModel):
    name: Literal["sgd"]
    lr: float


class Adam(StrictModel):
    name: Literal["adam"]
    eps: float


class Recipe(StrictModel):
    title: str
    epochs: int = 1
    optimizer: Annotated[Sgd | Adam, Field(discriminator="name")]


SGD = {"name": "sgd", "lr": 0.1}


@pytest.fixture
def load(tmp_path):
    def write_and_load(text: str | bytes):
        path = tmp_path / "file.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_yaml(path, SubmissionError)

    return write_and_load


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("2026-11-21", "2026-11-21"),
        ("0256", "0256"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("+1", "+1"),
        ("256", 256),
        ("-3", -3),
        ("0", 0),
        ("1e-4", 0.0001),
        ("1.0e-4", 0.0001),
        ("0.5", 0.5),
        ("1.2.3", "1.2.3"),
        ("0123456789012345678901234567890123456789", "0123456789012345678901234567890123456789"),
    ],
)
def test_plain_words_are_numbers_or_truth_values_only_where_every_reader_agrees(load, written, read):
    value = load(f"a: {written}")["a"]
    assert value == read
    assert type(value) is type(read)


@pytest.mark.parametrize("word", ["no", "0256", "1:30", "1_000", "true", "2.0", "'2'", "2026-11-21"])
def test_a_word_that_is_not_a_whole_number_is_refused_where_one_is_wanted(load, word):
    with pytest.raises(SubmissionError, match="epochs"):
        parse_model(Recipe, {**load(f"epochs: {word}"), "title": "t", "optimizer": SGD}, "f", SubmissionError)


@pytest.mark.parametrize("number", [".inf", "-.INF", ".nan", "1.0e999"])
def test_infinity_and_nan_are_refused_where_a_number_is_wanted(load, number):
    data = {"title": "t", "optimizer": {"name": "sgd", "lr": load(f"lr: {number}")["lr"]}}
    with pytest.raises(SubmissionError, match="lr"):
        parse_model(Recipe, data, "f", SubmissionError)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\na: 2", "'a' appears twice"),
        ("b: {a: 1, a: 1}", "'a' appears twice"),
        ('b: {1: x, "1": y}', "'1' appears twice"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "plain words|aliases"),
        ("<<: {b: 1}", "plain words"),
        ("? [1, 2]\n: x", "plain words"),
        ("a: !!python/object/apply:os.system [id]", "tags"),
        ("a: !!binary aGk=", "tags"),
        ("a: !!set {b}", "tags"),
        ("a: !secret b", "tags"),
        ("a: 1\n---\nb: 2", "another document"),
        ("a: [1", "expected"),
        ("a: \x00", "special characters"),
        ("a: " + "[" * 50 + "]" * 50, "deeper than"),
        ("a: " + "[" * 200_000, "deeper than"),
        ("a: " + "9" * 5000, "digits"),
    ],
)
def test_ambiguous_or_dangerous_yaml_is_refused_with_file_and_reason(load, tmp_path, text, reason):
    with pytest.raises(SubmissionError) as caught:
        load(text)
    assert str(tmp_path / "file.yaml") in caught.value.where
    assert any(part in caught.value.why for part in reason.split("|"))


def test_the_message_points_at_the_line(load, tmp_path):
    with pytest.raises(SubmissionError) as caught:
        load("a: 1\nb: 2\na: 3")
    assert caught.value.where == f"{tmp_path / 'file.yaml'}:3"


@pytest.mark.parametrize("text", ["", "# only a comment", "- 1\n- 2", "just words", "42"])
def test_a_file_that_is_not_a_mapping_is_refused(load, text):
    with pytest.raises(SubmissionError, match="mapping"):
        load(text)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse zeros: reading them would fail as "special characters" instead
    with pytest.raises(SubmissionError, match="too large") as caught:
        load_yaml(path, SubmissionError)
    assert str(MAX_BYTES) in caught.value.why


def test_bytes_that_are_not_utf8_are_refused(load):
    with pytest.raises(SubmissionError, match="UTF-8"):
        load(b"a: \xff\xfe")


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_missing_file_or_a_folder_is_an_error_of_the_callers_kind(tmp_path, name):
    with pytest.raises(SubmissionError, match="cannot read"):
        load_yaml(tmp_path / name, SubmissionError)


def test_an_unknown_key_is_named_with_the_valid_ones_and_the_nearest():
    with pytest.raises(HlbenchError) as caught:
        parse_model(Recipe, {"title": "t", "optimizer": SGD, "epoch": 3}, "recipe.yaml")
    assert caught.value.where == "recipe.yaml"
    assert "epoch: unknown key; valid keys here: epochs, optimizer, title; did you mean 'epochs'?" in caught.value.why


def test_valid_keys_inside_a_tagged_union_are_those_of_the_chosen_member():
    with pytest.raises(HlbenchError) as caught:
        parse_model(Recipe, {"title": "t", "optimizer": {"name": "adam", "eps": 0.1, "lr": 0.1}}, "recipe.yaml")
    assert "valid keys here: eps, name" in caught.value.why


def test_a_missing_key_is_named_with_the_required_ones():
    with pytest.raises(HlbenchError) as caught:
        parse_model(Recipe, {"optimizer": SGD}, "recipe.yaml")
    assert "title: missing; required here: optimizer, title" in caught.value.why


def test_every_problem_is_listed_at_once():
    with pytest.raises(HlbenchError) as caught:
        parse_model(Recipe, {"title": 3, "epochs": "x", "optimizer": SGD, "extra": 1}, "recipe.yaml")
    assert all(key in caught.value.why for key in ("3 problems", "title", "epochs", "extra"))


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_something_other_than_a_mapping_is_an_error_and_not_a_crash(data):
    with pytest.raises(HlbenchError, match="schema"):
        parse_model(Recipe, data, "recipe.yaml")


def test_a_very_long_value_is_shortened_in_the_message():
    with pytest.raises(HlbenchError) as caught:
        parse_model(Recipe, {"title": ["x" * 10_000], "optimizer": SGD}, "recipe.yaml")
    assert len(str(caught.value)) < 500


def test_a_parsed_file_cannot_be_changed_afterwards():
    recipe = parse_model(Recipe, {"title": "t", "optimizer": SGD}, "recipe.yaml")
    with pytest.raises(ValidationError):
        recipe.title = "other"
