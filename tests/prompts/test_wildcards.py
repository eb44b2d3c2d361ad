"""Wildcards are files of options, read within limits, and read again when they change."""

import os
import threading
from pathlib import Path

import pytest

from pipelines.prompts import wildcards as module
from pipelines.prompts.drawing import count_combinations, draw_text, holds_choices, wildcards_in
from pipelines.prompts.variants import MAX_DEPTH
from pipelines.prompts.wildcards import FOLDER, Wildcards
from pipelines.schema.counts import WildcardCount

OURS = Wildcards()


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def texts(wildcards: Wildcards, name: str) -> list[str]:
    """The options of a name as they are drawn."""
    text = f"__{name}__"
    return sorted({draw_text(text, wildcards, seed=seed, field="prompt") for seed in range(150)})


def test_a_line_is_an_option_unless_it_is_empty_or_a_comment(tmp_path: Path) -> None:
    write(tmp_path, colour="# warm\nred\n\n   \n  deep orange  \r\n#ff0000\ngold # leaf\n")
    assert texts(Wildcards(tmp_path), "colour") == ["deep orange", "gold # leaf", "red"]


def test_names_are_found_whatever_their_case_and_in_subfolders(tmp_path: Path) -> None:
    write(tmp_path, Colour="red", sub__Deeper__hair="long")
    wildcards = Wildcards(tmp_path)
    assert wildcards.names == ("colour", "sub/deeper/hair")
    drawn = draw_text("__COLOUR__ __sub/deeper/hair__ __hair__", wildcards, seed=1, field="prompt")
    assert drawn == "red long __hair__"


def test_a_star_stands_for_all_files_that_fit(tmp_path: Path) -> None:
    write(tmp_path, colour_warm="red\norange", colour_cold="blue", sub__cold="ice", mood="calm")
    wildcards = Wildcards(tmp_path)
    assert texts(wildcards, "colour*") == ["blue", "orange", "red"]
    assert texts(wildcards, "*cold") == ["blue", "ice"]
    assert texts(wildcards, "colour*cold") == ["blue"]
    assert texts(wildcards, "*") == ["blue", "calm", "ice", "orange", "red"]
    assert texts(wildcards, "*/co*") == ["__*/co*__"]
    assert texts(wildcards, "nothing*") == ["__nothing*__"]
    assert texts(wildcards, "moo*ood") == ["__moo*ood__"]
    assert count_combinations({"prompt": "__colour*__ {2$$__*__}"}, wildcards) == 3 * 10


def test_wildcards_and_variants_in_options_are_drawn(tmp_path: Path) -> None:
    write(tmp_path, pet="{small|big} cat\n__breed__ dog", breed="brown\nwhite")
    assert texts(Wildcards(tmp_path), "pet") == ["big cat", "brown dog", "small cat", "white dog"]


def test_an_option_may_begin_with_its_weight(tmp_path: Path) -> None:
    write(tmp_path, often="9::yes\nno\n0::never")
    wildcards = Wildcards(tmp_path)
    drawn = [draw_text("__often__", wildcards, seed=seed, field="prompt") for seed in range(1000)]
    assert set(drawn) == {"yes", "no"}
    assert 860 < drawn.count("yes") < 940


def test_a_file_that_names_itself_ends(tmp_path: Path) -> None:
    write(tmp_path, loop="<__loop__>", twins="__twins__ and __twins__")
    wildcards = Wildcards(tmp_path)
    assert draw_text("__loop__", wildcards, seed=1, field="prompt") == "<" * MAX_DEPTH + r"\__loop\__" + ">" * MAX_DEPTH
    assert r"\__twins\__" in draw_text("__twins__", wildcards, seed=1, field="prompt")
    assert count_combinations({"prompt": "__loop__ __twins__"}, wildcards) == 1


def test_files_that_name_each_other_can_be_counted(tmp_path: Path) -> None:
    write(tmp_path, egg="hen's egg\negg of __hen__", hen="hen\nhen of __egg__")
    assert count_combinations({"prompt": "__egg__"}, Wildcards(tmp_path)) == MAX_DEPTH + 1


def test_bytes_that_are_no_utf_8_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_bytes(b"\xef\xbb\xbfcaf\xe9\nna\xc3\xafve\n")
    assert texts(Wildcards(tmp_path), "odd") == ["caf\ufffd", "naïve"]


def test_files_that_are_too_large_or_no_wildcards_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr(module, "MAX_LINES", 5)
    monkeypatch.setattr(module, "MAX_LINE_CHARACTERS", 20)
    write(tmp_path, a="1\n2\n3", b="4\n5\n6", c="7\n" + "x" * 21, d="y\n" * 51, empty="# nothing\n")
    write(tmp_path, **{".hidden": "1", ".git__inside": "1", "1__2__3__4__in": "deep", "1__2__3__4__5__out": "deeper"})
    (tmp_path / "notes.md").write_text("no wildcard")
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("a name that is no UTF-8")
    assert Wildcards(tmp_path).names == ("1/2/3/4/in", "a", "c")
    assert texts(Wildcards(tmp_path), "c") == ["7"]


def test_only_so_many_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 3)
    write(tmp_path, **{f"n{number}": "option" for number in range(5)})
    assert Wildcards(tmp_path).names == ("n0", "n1", "n2")


def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    write(inside, real="red")
    write(outside, secret="hidden")
    (inside / "link.txt").symlink_to(outside / "secret.txt")
    (inside / "own.txt").symlink_to(inside / "real.txt")
    (inside / "round.txt").symlink_to(inside / "round.txt")
    (inside / "folder").symlink_to(outside)
    assert Wildcards(inside).names == ("own", "real")


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    wildcards = Wildcards(tmp_path / "missing")
    assert wildcards.names == ()
    assert draw_text("__colour__", wildcards, seed=1, field="prompt") == "__colour__"


def test_changed_new_and_deleted_files_are_noticed_by_a_rescan(tmp_path: Path) -> None:
    write(tmp_path, colour="red", mood="calm")
    wildcards = Wildcards(tmp_path)
    write(tmp_path, colour="blue", place="here")
    os.utime(tmp_path / "colour.txt", ns=(1, 1))
    (tmp_path / "mood.txt").unlink()
    assert texts(wildcards, "colour") == ["red"]
    before = wildcards.words
    wildcards.rescan()
    assert wildcards.names == ("colour", "place")
    assert texts(wildcards, "colour") == ["blue"]
    assert tuple(before.pools) == ("colour", "mood")


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, colour="red", mood="calm")
    wildcards = Wildcards(tmp_path)
    opened: list[Path] = []
    read = module._read_pool
    monkeypatch.setattr(module, "_read_pool", lambda path: (opened.append(path), read(path))[1])
    write(tmp_path, mood="calm and bright")
    wildcards.rescan()
    assert [path.name for path in opened] == ["mood.txt"]


def test_drawing_goes_on_while_files_are_read_again(tmp_path: Path) -> None:
    write(tmp_path, left="left\n" * 50, right="right\n" * 50)
    wildcards = Wildcards(tmp_path)
    failures: list[str] = []
    done = threading.Event()

    def draw_on() -> None:
        while not done.is_set():
            if draw_text("__left__ __right__", wildcards, seed=1, field="prompt") != "left right":
                failures.append("half a folder was seen")

    threads = [threading.Thread(target=draw_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(8):
        write(tmp_path, left="left\n" * (51 + number))
        wildcards.rescan()
    done.set()
    for thread in threads:
        thread.join()
    assert not failures


def test_the_wildcards_of_a_text_are_named_once_with_their_options(tmp_path: Path) -> None:
    write(tmp_path, colour="red\nblue", mood="calm")
    text = "__mood__ {a __colour__|__nowhere__|{x|__mood__}} [__colour__|y] \\__colour__"
    assert wildcards_in(text, Wildcards(tmp_path)) == (
        WildcardCount("mood", 1),
        WildcardCount("colour", 2),
        WildcardCount("nowhere", 0),
    )


def test_our_own_files_hold_enough_and_name_only_each_other() -> None:
    assert {"animal", "fruit", "colour", "mood", "weather", "season", "place", "light", "camera"} <= set(OURS.names)
    assert len(OURS.names) == len(list(FOLDER.rglob("*.txt"))) >= 25
    for name, pool in OURS.words.pools.items():
        lines = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        assert 15 <= len(pool.options) <= 60, name
        assert len(set(lines)) == len(lines), name
        for line in lines:
            assert all(count.options for count in wildcards_in(line, OURS)), line
            assert line.startswith("#") or line == line.strip(), line


def test_what_our_own_files_draw_holds_no_choice_any_more() -> None:
    for seed in range(60):
        for name in OURS.names:
            drawn = draw_text(f"__{name}__", OURS, seed=seed, field="prompt")
            assert drawn
            assert not holds_choices(drawn, OURS)
            assert "__" not in drawn
            assert "{" not in drawn
