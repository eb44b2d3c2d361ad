"""What prompts become, written down by hand: a table of both dialects, of ambiguous forms and of broken ones."""

import pytest

from pipelines.prompts.reading import Fragment, Passage, Reading
from pipelines.prompts.syntax import CODES, LoraTag, parse
from pipelines.schema.counts import Hint
from pipelines.schema.types import Syntax
from tests.prompts.notation import write

TABLE = (
    # nothing special: out comes what went in
    ("", "plain", ""),
    ("   ", "plain", "   "),
    ("a red fox", "plain", "a red fox"),
    ("a,b ,  c", "plain", "a,b ,  c"),
    ("line one\nline two", "plain", "line one\nline two"),
    ("t-shirt, 1girl, x-ray, 35mm f/1.8", "plain", "t-shirt, 1girl, x-ray, 35mm f/1.8"),
    ("rock+roll, a+b, 1+1=2", "plain", "rock+roll, a+b, 1+1=2"),
    ('a sign that says "open"', "plain", 'a sign that says "open"'),
    ("ratio 16:9, a|b", "plain", "ratio 16:9, a|b"),
    ("breakfast, Break, BREAKS, break", "plain", "breakfast, Break, BREAKS, break"),
    ("a cat -- sleeping --ar 3", "plain", "a cat -- sleeping --ar 3"),
    ("{red|blue} __colour__ <3 <b>", "plain", "{red|blue} __colour__ <3 <b>"),
    ("C:\\temp", "plain", "C:\\temp"),
    ("a fox\x00 in snow", "plain", "a fox\x00 in snow"),
    ("🦊 in 🏔️ 👩‍👧", "plain", "🦊 in 🏔️ 👩‍👧"),
    ("ثعلب أحمر في الثلج", "plain", "ثعلب أحمر في الثلج"),
    ("שועל \u200f אדום", "plain", "שועל \u200f אדום"),
    ("一只狐狸，雪地", "plain", "一只狐狸，雪地"),
    ("half \ud83d of an emoji", "plain", "half \ud83d of an emoji"),
    ("by embedding:bad-hands_v2, a hand", "plain", "by embedding:bad-hands_v2, a hand"),
    # faces and names that only look like signs
    ("smile :) ;) :-) :( >_< ^_^ +_+ -_-", "plain", "smile :) ;) :-) :( >_< ^_^ +_+ -_-"),
    ("C++ code, g++ and Notepad++", "plain", "C++ code, g++ and Notepad++"),
    ("18+, Disney+, an A+ student", "plain", "18+, Disney+, an A+ student"),
    ("5-, pre- and post-war, word-", "plain", "5-, pre- and post-war, word-"),
    ("the end-- of it--all", "compel", "the {end×0.81} of {it×0.81} all"),
    ("cat--dog, C++17", "plain", "cat--dog, C++17"),
    # A1111: emphasis
    ("(x)", "a1111", "{x×1.1}"),
    ("((x))", "a1111", "{x×1.21}"),
    ("[x]", "a1111", "{x×0.9091}"),
    ("[[x]]", "a1111", "{x×0.8264}"),
    ("([x])", "a1111", "x"),
    ("a (red) fox", "a1111", "a {red×1.1} fox"),
    ("a ( red ) fox", "a1111", "a { red ×1.1} fox"),
    ("(red)(fox)", "a1111", "{redfox×1.1}"),
    ("(a (b) c)", "a1111", "{a ×1.1}{b×1.21}{ c×1.1}"),
    ("(red)-haired girl", "a1111", "{red×1.1}-haired girl"),
    ("(red)3d", "a1111", "{red×1.1}3d"),
    ("f(x) = y", "a1111", "f{x×1.1} = y"),
    ("()", "a1111", ""),
    ("(🦊) (ثعلب) (\x00)", "a1111", "{🦊×1.1} {ثعلب×1.1} {\x00×1.1}"),
    ("(\ud83d)", "a1111", "{\ud83d×1.1}"),
    # A1111: weights
    ("(x:1.3)", "a1111", "{x×1.3}"),
    ("(x:.5) (y:2) (z:1.)", "a1111", "{x×0.5} {y×2} z"),
    ("(x : 1.3 )", "a1111", "{x ×1.3}"),
    ("(x:-1) (y:+1.5) (z:0)", "a1111", "{x×-1} {y×1.5} {z×0}"),
    ("(a:b:1.3)", "a1111", "{a:b×1.3}"),
    ("((x:1.3))", "a1111", "{x×1.43}"),
    ("(a (b:0.5) c:1.2)", "a1111", "{a ×1.2}{b×0.6}{ c×1.2}"),
    ("([x]:1.1)", "a1111", "x"),
    ("(embedding:neat:1.2)", "a1111", "{embedding:neat×1.2}"),
    ("(:1.3)a", "a1111", "a"),
    ("(x:abc)", "a1111", "{x:abc×1.1}"),
    ("(x:nan) (y:inf)", "a1111", "{x:nan×1.1} {y:inf×1.1}"),
    ("(x:1e999)", "a1111", "{x:1e999×1.1}"),
    ("(x:1.2.3)", "a1111", "{x:1.2.3×1.1}"),
    ("(x:1000)", "a1111", "{x×100}"),
    # A1111: escapes
    ("fox \\(animal\\)", "a1111", "fox (animal)"),
    ("\\[x\\] \\\\", "a1111", "[x] \\"),
    ("(fox \\(animal\\):1.2)", "a1111", "{fox (animal)×1.2}"),
    ("(x\\:1.3)", "a1111", "{x:1.3×1.1}"),
    ("\\\\(x)", "a1111", "\\{x×1.1}"),
    ("(x)\\", "a1111", "{x×1.1}\\"),
    ("\\{a\\|b\\} \\__x__", "a1111", "{a|b} __x__"),
    ("\\{a\\|b\\} \\__x__ y++", "compel", "{a|b} __x__ {y×1.21}"),
    # A1111: BREAK
    ("a BREAK b", "a1111", "a // b"),
    ("a,BREAK,b", "a1111", "a, // ,b"),
    ("a\nBREAK\nb BREAK c", "a1111", "a // b // c"),
    ("BREAK", "a1111", ""),
    ("BREAK BREAK", "a1111", " // "),
    ("BREAK a", "a1111", " // a"),
    ("a BREAK", "a1111", "a"),
    ("a BREAK BREAK b", "a1111", "a //  // b"),
    ("(a BREAK b:1.2)", "a1111", "{a×1.2} // {b×1.2}"),
    # A1111: prompt editing, in ten steps
    ("[red:blue:0.5] fox", "a1111", "1-5: red fox; 6-10: blue fox"),
    ("[red:blue:3]", "a1111", "1-3: red; 4-10: blue"),
    ("a [b:.5] c", "a1111", "1-5: a  c; 6-10: a b c"),
    ("a [b::0.2] c", "a1111", "1-2: a b c; 3-10: a  c"),
    ("[a:b: 3 ]", "a1111", "1-3: a; 4-10: b"),
    ("[a:b:0]", "a1111", "1-10: b"),
    ("[a:b:-1]", "a1111", "1-10: b"),
    ("[a:b:1.0]", "a1111", "1-10: a"),
    ("[a:b:1]", "a1111", "1-1: a; 2-10: b"),
    ("[a:b:0.39]", "a1111", "1-3: a; 4-10: b"),
    ("[a:b:99]", "a1111", "1-10: a"),
    ("[(a:2):3]", "a1111", "1-3: ; 4-10: {a×2}"),
    ("([a:b:0.5]:1.2)", "a1111", "1-5: {a×1.2}; 6-10: {b×1.2}"),
    ("a[b:[c:d:2]:1]e", "a1111", "1-1: abe; 2-2: ace; 3-10: ade"),
    ("[[a:b:2]:c:5]", "a1111", "1-2: a; 3-5: b; 6-10: c"),
    ("[a BREAK b:c:5]", "a1111", "1-5: a // b; 6-10: c"),
    ("[a:b:5] BREAK [c:d:2]", "a1111", "1-2: a // c; 3-5: a // d; 6-10: b // d"),
    ("[a\\:b:c:5]", "a1111", "1-5: a:b; 6-10: c"),
    ("[a|b:5]", "a1111", "1-5: ; 6-10: a|b"),
    ("[a:b]", "a1111", "{a:b×0.9091}"),
    ("[a:b:c:0.5]", "a1111", "{a:b:c:0.5×0.9091}"),
    ("[a:b:nan]", "a1111", "{a:b:nan×0.9091}"),
    # A1111: alternation
    ("[a|b]", "a1111", "; ".join(f"{step}-{step}: {'ba'[step % 2]}" for step in range(1, 11))),
    ("[a|b|c] x", "a1111", "; ".join(f"{step}-{step}: {'cab'[step % 3]} x" for step in range(1, 11))),
    ("[fe|]male", "a1111", "; ".join(f"{step}-{step}: {'fe' * (step % 2)}male" for step in range(1, 11))),
    ("[a|a]", "a1111", "1-10: a"),
    ("[[a|b]:c:1]", "a1111", "1-1: a; 2-10: c"),
    ("[(a:1.1)|b:c]", "a1111", "; ".join(f"{step}-{step}: {('b:c', '{a×1.1}')[step % 2]}" for step in range(1, 11))),
    # LoRA tags
    ("a fox <lora:ink:0.8>", "a1111", "a fox "),
    ("<lora:ink>(fox)", "a1111", "{fox×1.1}"),
    ("[<lora:ink:1>a:b:5]", "a1111", "1-5: a; 6-10: b"),
    ("<lora:ink:0.8> a fox++", "compel", "a {fox×1.21}"),
    # compel: weights
    ("x++", "compel", "{x×1.21}"),
    ("x--", "compel", "{x×0.81}"),
    ("fox+", "compel", "{fox×1.1}"),
    ("a fox++ in snow-", "compel", "a {fox×1.21} in {snow×0.9}"),
    ("(x y)1.3", "compel", "{x y×1.3}"),
    ("(x)-", "compel", "{x×0.9}"),
    ("(x y)++ z", "compel", "{x y×1.21} z"),
    ("(x).5", "compel", "{x×0.5}"),
    ("((a)+ b)0.5", "compel", "{a×0.55} {b×0.5}"),
    ("(a (b)++ c)0.5", "compel", "{a×0.5} {b×0.605} {c×0.5}"),
    ("(a, b.c)1.2", "compel", "{a , b . c×1.2}"),
    ("a,b++,c", "compel", "a, {b×1.21} , c"),
    ("a++b++ c", "compel", "{a b×1.21} c"),
    ('"x y"++ "z"', "compel", "{x y×1.21} z"),
    ("x.attend(1.3) (y z).attend(--)", "compel", "{x×1.3} {y z×0.81}"),
    ("t-shirt++", "compel", "{t-shirt×1.21}"),
    ("(plain) fox++", "compel", "plain {fox×1.21}"),
    ("f(x)1.2 y++", "compel", "f(x)1.2 {y×1.21}"),
    ("\\(x\\)++ \\(y\\)", "compel", "{(x)×1.21} (y)"),
    ("(a - b)1.2", "compel", "{a - b×1.2}"),
    ("狐狸++ 🦊-- é+", "compel", "{狐狸×1.21} {🦊×0.81} {é×1.1}"),
    ("(x)1.3 fox BREAK snow++", "compel", "{x×1.3} fox & {snow×1.21}"),
    ("a.swap(b) c", "compel", "a c"),
    ("a fox withLora(ink, 0.5)", "compel", "a fox"),
    # compel: several texts
    ('("a", "b").and()', "compel", "a & b"),
    ('("a", "b").and(1, 0.5)', "compel", "a & b@0.5"),
    ("(a, b).and(1, 0.5)", "compel", "a & b@0.5"),
    ('("a", "b").blend(0.7, 0.3)', "compel", "blend(a@0.7, b@0.3)"),
    ('("a", "b").blend(1, -0.5, no_normalize)', "compel", "sum(a@1, b@-0.5)"),
    ('("a++ b", "c (d)1.2").blend(1, 1)', "compel", "blend({a×1.21} b@1, c {d×1.2}@1)"),
    ("((a b)++, c).blend(1, 1)", "compel", "blend({a b×1.21}@1, c@1)"),
    ('("a, b", "c").and()', "compel", "a , b & c"),
    ('("a BREAK b", "c").and(2, 3)', "compel", "a@2 & b@2 & c@3"),
    ('("a BREAK b", "c").blend(1, 1)', "compel", "blend(a b@1, c@1)"),
    ('("a", "b").and() c', "compel", "a & b & c"),
    ('c ("a", "b").and()', "compel", "c a , b .and()"),
    # broken brackets
    ("(a", "plain", "(a"),
    ("a)", "plain", "a)"),
    ("[a", "plain", "[a"),
    (")(", "plain", ")("),
    ("(a:1.3", "plain", "(a:1.3"),
    ("a:1.3)", "plain", "a:1.3)"),
    ("(a (b)", "a1111", "(a {b×1.1}"),
    ("(a)) b", "a1111", "{a×1.1}) b"),
    ("(a [b) c]", "a1111", "{a [b×1.1} c]"),
    ("[a (b] c", "a1111", "{a (b×0.9091} c"),
    ("((a][:b:c [d:3]", "a1111", "1-3: ((a][:b:c ; 4-10: ((a][:b:c d"),
    ("(a b++", "compel", "(a {b×1.21}"),
    ('("a (b" d++', "compel", '("a (b" {d×1.21}'),
    ('"a.swap("b") c" d++', "compel", 'a . swap ( b") c" {d×1.21}'),
    # both dialects in one text
    ("(x:1.3), y++", "a1111", "{x×1.3}, y++"),
    ("[x] (y)1.2", "a1111", "{x×0.9091} {y×1.1}1.2"),
    ('("a (x:1.3)", "b").blend(1, 1)', "compel", "blend(a x:1 . 3@1, b@1)"),
)


@pytest.mark.parametrize(("text", "dialect", "reading"), TABLE, ids=[ascii(text)[:40] for text, _, _ in TABLE])
def test_a_prompt_is_read_as_the_table_says(text: str, dialect: str, reading: str) -> None:
    prompt = parse(text)
    assert (prompt.dialect, write(prompt)) == (dialect, reading)


def test_the_table_is_long_and_says_nothing_twice() -> None:
    texts = [text for text, _, _ in TABLE]
    assert len(texts) == len(set(texts)) >= 80


def test_the_table_reads_the_same_where_its_dialect_is_fixed() -> None:
    fixed = {"a1111": "a1111", "compel": "compel", "plain": "a1111"}
    assert [text for text, dialect, reading in TABLE if write(parse(text, fixed[dialect])) != reading] == []


FIXED: tuple[tuple[str, Syntax, str, str], ...] = (
    ("x++, C++", "a1111", "plain", "x++, C++"),
    ("(x)1.3", "a1111", "a1111", "{x×1.1}1.3"),
    ('("a", "b").and()', "a1111", "a1111", '{"a", "b"×1.1}.and'),
    ("C++ word- 5--", "compel", "compel", "{C×1.21} {word×0.9} {5×0.81}"),
    ("(x)", "compel", "compel", "x"),
    ("(x:1.3)", "compel", "compel", "x:1 . 3"),
    ("[a:b:0.5]", "compel", "plain", "[a:b:0.5]"),
    ('say "x"', "compel", "compel", "say x"),
    ("a  b,c", "compel", "plain", "a  b,c"),
    ("a BREAK b", "compel", "compel", "a & b"),
    ("<lora:ink:1>a", "compel", "compel", "a"),
    ("", "compel", "plain", ""),
    ("()", "compel", "compel", ""),
    ("BREAK", "compel", "compel", ""),
)


@pytest.mark.parametrize(("text", "syntax", "dialect", "reading"), FIXED)
def test_a_visitor_can_fix_the_dialect(text: str, syntax: Syntax, dialect: str, reading: str) -> None:
    prompt = parse(text, syntax)
    assert (prompt.dialect, write(prompt)) == (dialect, reading)


@pytest.mark.parametrize(
    ("text", "code", "value"),
    [
        ("a (fox", "unclosed", "(fox"),
        ("a fox] b", "unopened", "] b"),
        ("(" * 50, "unclosed", "(" * 24),
        ("(x:1e999)", "bad_weight", "1e999"),
        ("(x:nan)", "bad_weight", "nan"),
        ("[a:b:inf]", "bad_weight", "inf"),
        (f"(x){'9' * 400} y++", "bad_weight", "9" * 24),
        ("x.attend(much) y++", "bad_weight", ".attend(much)"),
        ('("a", "b").and(1)', "bad_weight", ".and(1)"),
        ("<lora:ink:strong>", "bad_weight", "<lora:ink:strong>"),
        ("(x:1000)", "weight_limited", "(x:1000)"),
        ("(" * 60 + "x" + ")" * 60, "weight_limited", "(" * 24),
        ('("a", "b").blend(900, 1)', "weight_limited", ".blend(900, 1)"),
        ("<lora:ink:0.8:0.5>", "lora_numbers", "<lora:ink:0.8:0.5>"),
        ("<hypernet:old:1>", "no_effect", "<hypernet:old:1>"),
        ("a.swap(b)", "no_effect", ".swap(b)"),
        ("a cat AND (a dog)", "no_effect", "AND"),
        ('("a BREAK b", "c").blend(1, 1)', "no_effect", "BREAK"),
        ('c ("a", "b").and()', "misplaced", ".and()"),
        ('("a", "b").and() c', "misplaced", ".and()"),
        ("(x:1.3), fox++", "other_syntax", "fox++"),
        ('("a [x]", "b").and()', "other_syntax", "[x]"),
        ("C++", "maybe_weight", "C++"),
        ("a word- b", "maybe_weight", "word-"),
        ("(plain) fox++", "unweighted_brackets", "(plain)"),
    ],
)
def test_what_may_mean_something_else_is_hinted_at(text: str, code: str, value: str) -> None:
    assert Hint(code, value) in parse(text).hints


@pytest.mark.parametrize(
    "text",
    [
        "smile :) and ;( and :-] and 8'[",
        "SALT AND PEPPER",
        "pages 5-, 18+",
        "t-shirt, a+b, (x), \\(y\\)",
        "(best quality:1.2), [fox|cat], BREAK <lora:ink:0.8>",
        "a fox++, (in snow)1.2",
        '("a", "b").blend(1, 1)',
    ],
)
def test_what_is_plainly_meant_is_not_hinted_at(text: str) -> None:
    assert parse(text).hints == ()


def test_a_fixed_dialect_still_says_where_the_other_ones_signs_are() -> None:
    assert parse("(x:1.3)", "compel").hints[-1] == Hint("other_syntax", "(x:1.3)")
    assert parse("fox++", "a1111").hints == (Hint("other_syntax", "fox++"),)


def test_a_thousand_broken_brackets_are_one_hint() -> None:
    assert [hint.code for hint in parse("] (" * 1000).hints] == ["unclosed", "unopened"]


def test_every_code_is_given_for_some_prompt() -> None:
    texts = (
        "(",
        ")",
        "(x:nan)",
        "(x:999)",
        "<lora:a:1:1>",
        "<hypernet:a>",
        "x (a).and()",
        "(x:2) y++",
        "C++",
        "(x) y++",
    )
    assert {hint.code for text in texts for hint in parse(text).hints} == set(CODES)


@pytest.mark.parametrize(
    ("text", "loras"),
    [
        ("<lora:ink:0.8>", [("ink", 0.8)]),
        ("<lora:ink>", [("ink", 1.0)]),
        ("<LORA: ink v2 : -.5 >", [("ink v2", -0.5)]),
        ("<lyco:ink:1:0.5>", [("ink", 1.0)]),
        ("<lora:ink:te=0.5:0.7>", [("ink", 0.7)]),
        ("<lora:ink (new):1>", [("ink (new)", 1.0)]),
        ("<lora:a:1> <lora:b:2>", [("a", 1.0), ("b", 2.0)]),
        ("<lora:ink:1e999>", [("ink", 1.0)]),
        (f"<lora:ink:{'9' * 400}>", [("ink", 1.0)]),
        ("[<lora:a:1>:<lora:b:1>:0.5]", [("a", 1.0), ("b", 1.0)]),
        ("fox++ withLora(ink, 0.5) useLora(oil)", [("ink", 0.5), ("oil", 1.0)]),
        ('withLora(ink, 0) ("a", "b").blend(1, 1)', [("ink", 0.0)]),
        ("<hypernet:ink:1>", []),
        ("<lora:> <lora::1> < lora:ink:1>", []),
    ],
)
def test_loras_are_named_with_their_weights(text: str, loras: list[tuple[str, float]]) -> None:
    assert parse(text).loras == tuple(LoraTag(name, weight) for name, weight in loras)


def test_a_tag_without_a_name_is_text() -> None:
    assert write(parse("<lora::1> <lora:>")) == "<lora::1> <lora:>"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("embedding:bad-hands_v2, a hand", ["bad-hands_v2"]),
        ("(embedding:neat:1.2) [embedding:odd]", ["neat", "odd"]),
        ("embedding:a embedding:b embedding:a.", ["a", "b"]),
        ("embedding:neat++ fox", ["neat"]),
        ("my_embedding:x embedding: y", []),
    ],
)
def test_embeddings_are_named_once(text: str, names: list[str]) -> None:
    assert parse(text).embeddings == tuple(names)


def test_a_plain_prompt_is_one_fragment() -> None:
    reading = parse("a red fox").reading(1, 20)
    assert reading == Reading("plain", (Passage(((Fragment("a red fox"),),)),), (1.0,), "a red fox")


@pytest.mark.parametrize("text", ["", "()", "BREAK", "[:0.5]", "<lora:a:1>", "()1.2", '""++', "withLora(a)"])
def test_a_prompt_without_words_is_one_empty_fragment(text: str) -> None:
    assert parse(text).reading(1, 10).parts == (Passage(((Fragment(""),),)),)


def test_the_whole_text_is_as_typed_in_compel_and_words_alone_else() -> None:
    assert parse("<lora:ink:1>a (fox)1.2").reading(1, 10).text == "a (fox)1.2"
    assert parse("a (fox:1.2) BREAK [b:c:5]").reading(1, 10).text == "a fox b"
    assert parse("a (fox:1.2) BREAK [b:c:5]").reading(6, 10).text == "a fox c"
