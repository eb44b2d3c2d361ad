"""The rules of the house, read from the source: which room may know which, and that importing does no work."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PRODUCT = ("app", "api", "ui", "pipelines")
"""What a host runs; `training`, `benchmarks` and `tests` stand beside it."""
HEAVY = ("torch", "diffusers", "transformers", "compel", "accelerate", "safetensors", "peft")
FACES = ("gradio", "gradio_client", "fastapi", "ui", "api", "app")
TORCH_FREE_PROMPTS = tuple(
    f"pipelines.prompts.{name}"
    for name in ("reading", "syntax", "variants", "wildcards", "choosing", "combinations", "drawing", "styles")
)
"""What is known of a prompt before a text encoder reads it."""
ENGINE_DOORS = ("pipelines.schema", "pipelines.media", "pipelines.job", *TORCH_FREE_PROMPTS)
"""The torch-free part of the engine, which the faces may use."""
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "OrderedDict", "Counter", "Queue"}
MUTABLE_CALLS |= {"Lock", "RLock", "Event", "Condition", "WeakKeyDictionary", "WeakValueDictionary", "local"}
CHANGING_METHODS = {"append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "remove", "clear"}


@dataclass(frozen=True)
class Import:
    """One imported name, with the line it stands on."""

    module: str
    line: int
    only_for_types: bool


@dataclass(frozen=True)
class Rule:
    """What the modules below `room` must not import, in any of their functions."""

    room: str
    forbidden: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    """Exceptions to `forbidden`: the more precise name wins."""
    types_allowed: tuple[str, ...] = ()
    """Exceptions that hold below `if TYPE_CHECKING:` only."""


RULES = (
    Rule("pipelines", (*FACES, "training", "benchmarks", "tests")),
    Rule("pipelines.schema", (*HEAVY, "pipelines"), allowed=("pipelines.schema",)),
    Rule("pipelines.media", (*HEAVY, "pipelines"), allowed=("pipelines.schema", "pipelines.media")),
    Rule("pipelines.job", (*HEAVY, "pipelines"), allowed=("pipelines.schema",)),
    *(
        Rule(room, (*HEAVY, "pipelines"), allowed=("pipelines.schema", *TORCH_FREE_PROMPTS))
        for room in TORCH_FREE_PROMPTS
    ),
    Rule(
        "ui",
        (*HEAVY, "pipelines", "api", "app", "training", "benchmarks", "tests"),
        allowed=ENGINE_DOORS,
        types_allowed=("pipelines.manager",),
    ),
    Rule(
        "api",
        (*HEAVY, "pipelines", "ui", "app", "training", "benchmarks", "tests"),
        allowed=ENGINE_DOORS,
        types_allowed=("pipelines.manager",),
    ),
    Rule("app", ("training", "benchmarks", "tests")),
    Rule("training", (*FACES, "pipelines", "benchmarks", "tests")),
)


def test_every_import_follows_the_arrows() -> None:
    assert list(broken_rules(PROJECT)) == []


def test_nothing_mutable_stands_at_module_level() -> None:
    assert list(module_state(PROJECT)) == []


def test_the_rules_meet_real_files() -> None:
    found = {module_name(path, PROJECT) for path in source_files(PROJECT, PRODUCT)}
    rooms = [rule.room for rule in RULES if rule.room.startswith("pipelines") or rule.room in ("ui", "app")]
    assert [room for room in rooms if not any(below(name, room) for name in found)] == []


def test_importing_the_interface_leaves_torch_out() -> None:
    heavy = ("torch", "diffusers", "transformers", "compel")
    code = f"import sys, ui.layout; print([name for name in {heavy!r} if name in sys.modules])"
    assert run_python(code, PROJECT) == "[]"


def test_importing_our_modules_does_no_work() -> None:
    assert work_at_import(PROJECT) == []


def test_work_at_import_is_found(tmp_path: Path) -> None:
    write(tmp_path / "pipelines/a.py", "open('a.txt', 'w').close()\n")
    write(tmp_path / "pipelines/b.py", "import threading\nthreading.Thread(target=print).start()\n")
    write(tmp_path / "pipelines/c.py", "import subprocess, sys\nsubprocess.run([sys.executable, '-V'])\n")
    write(tmp_path / "pipelines/d.py", "import socket\nsocket.socket().connect_ex(('127.0.0.1', 9))\n")
    write(
        tmp_path / "pipelines/e.py", "from pathlib import Path\nPath('models/a').exists() or Path('models').mkdir()\n"
    )
    write(tmp_path / "ui/f.py", "import gradio\ngradio.Textbox()\n")
    found = " ".join(work_at_import(tmp_path))
    expected = ("writing", "thread", "Popen", "socket.connect", "os.mkdir", "1 Gradio components")
    assert [what for what in expected if what not in found] == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pipelines/engine.py", "import gradio as gr\n"),
        ("pipelines/engine.py", "def run():\n    from ui import layout\n"),
        ("pipelines/tasks/refine.py", "import importlib\nimportlib.import_module('ui.layout')\n"),
        ("pipelines/schema/requests.py", "import torch\n"),
        ("pipelines/schema/requests.py", "from ..media import decode\n"),
        ("pipelines/media/masks.py", "from pipelines import engine\n"),
        ("pipelines/job.py", "import diffusers.utils\n"),
        ("ui/tabs/inpaint.py", "def draw():\n    import torch\n"),
        ("ui/generate.py", "from pipelines.diffusion.run import Run\n"),
        ("ui/generate.py", "from pipelines import engine\n"),
        ("ui/generate.py", "from pipelines.manager import Manager\n"),
        ("ui/generate.py", "import app\n"),
        ("app.py", "from training import config\n"),
        ("training/train.py", "from pipelines.schema import buckets\n"),
    ],
)
def test_an_arrow_that_runs_back_is_found(tmp_path: Path, file: str, text: str) -> None:
    write(tmp_path / file, text)
    assert len(list(broken_rules(tmp_path))) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pipelines/engine.py", "import torch\nfrom pipelines.schema import events\nfrom .job import Job\n"),
        ("pipelines/schema/fields.py", "from pipelines.schema.requests import X\nfrom .errors import Y\n"),
        ("ui/generate.py", "import gradio\nfrom pipelines.schema.events import Step\nfrom pipelines.job import Job\n"),
        (
            "ui/generate.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pipelines.manager import M\n",
        ),
        ("app.py", "from pipelines.manager import Manager\nfrom ui.layout import build_app\n"),
    ],
)
def test_an_arrow_that_runs_forward_is_allowed(tmp_path: Path, file: str, text: str) -> None:
    write(tmp_path / file, text)
    assert list(broken_rules(tmp_path)) == []


@pytest.mark.parametrize(
    "text",
    [
        "cache = {}\n",
        "_loaded: list[str] = []\n",
        "import threading\nlock = threading.Lock()\n",
        "if True:\n    seen = set()\n",
        "TITLES = {}\ndef f(k, v):\n    TITLES[k] = v\n",
        "TITLES = []\ndef f(v):\n    TITLES.append(v)\n",
        "current = None\ndef f(v):\n    global current\n    current = v\n",
    ],
)
def test_module_state_is_found(tmp_path: Path, text: str) -> None:
    write(tmp_path / "pipelines/engine.py", text)
    assert len(list(module_state(tmp_path))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "__all__ = ['a']\n",
        "TITLES = {'a': 'b'}\n_TITLES: dict[str, str] = {'a': 'b'}\n",
        "def f():\n    seen = []\n    seen.append(1)\n    return seen\n",
        "pair = (1, 2)\nName = str\n",
    ],
)
def test_constants_are_no_module_state(tmp_path: Path, text: str) -> None:
    write(tmp_path / "pipelines/engine.py", text)
    assert list(module_state(tmp_path)) == []


# Reading the source


def source_files(root: Path, packages: tuple[str, ...]) -> list[Path]:
    """Every Python file of `packages` (folders or single modules) below `root`, but for what training leaves behind."""
    modules = [root / f"{name}.py" for name in packages]
    found = [path for name in packages for path in sorted((root / name).rglob("*.py"))]
    left_behind = root / "training" / "work"
    return [path for path in (*modules, *found) if path.is_file() and left_behind not in path.parents]


def module_name(path: Path, root: Path) -> str:
    """The dotted name that imports `path`."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def below(name: str, room: str) -> bool:
    """Whether the dotted `name` is `room` or stands in it."""
    return name == room or name.startswith(room + ".")


def broken_rules(root: Path) -> Iterator[str]:
    """Each import below `root` that a rule forbids, as "file:line imports module (rule)"."""
    for path in source_files(root, (*PRODUCT, "training")):
        module = module_name(path, root)
        for found in imports_of(path, root):
            for rule in RULES:
                if below(module, rule.room) and is_forbidden(found, rule):
                    yield f"{path.relative_to(root)}:{found.line} imports {found.module} (rule of {rule.room})"


def is_forbidden(found: Import, rule: Rule) -> bool:
    """Whether `rule` speaks against an import and none of its exceptions speaks for it."""
    exceptions = rule.allowed + (rule.types_allowed if found.only_for_types else ())
    return any(below(found.module, name) for name in rule.forbidden) and not any(
        below(found.module, name) for name in exceptions
    )


def imports_of(path: Path, root: Path) -> list[Import]:
    """Every import of a file, also those inside functions, with relative ones resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    return [
        Import(name, node.lineno, id(node) in for_types)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.Call))
        for name in imported_names(node, path, root)
    ]


def imported_names(node: ast.Import | ast.ImportFrom | ast.Call, path: Path, root: Path) -> list[str]:
    """The modules that one statement (or a call of `import_module`) asks for."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.Call):
        is_import = ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__")
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and is_import]
    origin = node.module or ""
    if node.level:
        package = path.relative_to(root).parent.parts
        origin = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
    if origin in ("pipelines", "ui", "api", "training", ""):  # a name of a package is a module of its own
        return [f"{origin}.{alias.name}".lstrip(".") for alias in node.names]
    return [origin]


def module_state(root: Path) -> Iterator[str]:
    """Each place below `root` where a module of the product keeps something that can change."""
    for path in source_files(root, PRODUCT):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {name for name, value in module_assignments(tree) if is_mutable(value)}
        for name in sorted(constants):
            if not name.lstrip("_").isupper() and not name.startswith("__"):
                yield f"{path.relative_to(root)}: {name} is mutable and no constant"
        for node in ast.walk(tree):
            if isinstance(node, ast.Global):
                yield f"{path.relative_to(root)}:{node.lineno} global {', '.join(node.names)}"
            elif (name := changed_name(node)) in constants:
                yield f"{path.relative_to(root)}:{node.lineno} changes {name}"


def module_assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Names and values that are assigned outside of functions and classes."""
    waiting: list[ast.stmt] = list(tree.body)
    for node in waiting:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        waiting.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        yield from ((t.id, value) for t in targets if isinstance(t, ast.Name) and value is not None)


def is_mutable(value: ast.expr) -> bool:
    """Whether an expression makes something that can change."""
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).split(".")[-1] in MUTABLE_CALLS
    return isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp))


def changed_name(node: ast.AST) -> str | None:
    """The name of the collection that a node changes in place, if it does."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
        changed = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING_METHODS:
        changed = node.func.value
    else:
        return None
    return changed.id if isinstance(changed, ast.Name) else None


# Watching an import


def work_at_import(root: Path) -> list[str]:
    """What importing every module of the product sets off: files, network, processes, threads, components."""
    modules = [module_name(path, root) for path in source_files(root, PRODUCT)]
    code = IMPORT_WATCH.replace("MODULES", repr(modules)).replace("PROJECT", repr(str(root)))
    return ast.literal_eval(run_python(code, root))


def run_python(code: str, root: Path) -> str:
    """What a fresh interpreter in the project's folder prints last."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(root)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


IMPORT_WATCH = '''
import importlib, os, sys, threading

WORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "urllib.Request", "subprocess.Popen", "os.system",
        "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree", "shutil.move", "tempfile.mkdtemp",
        "tempfile.mkstemp")
seen = set()

def is_ours(frame):
    """Whether our own code asked for it, rather than a library while it was being imported."""
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        if frame.f_code.co_filename.startswith(PROJECT + os.sep) and "site-packages" not in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False

def watch(event, args):
    if event in WORK:
        what = event
    elif event == "open" and isinstance(args[1], str) and set("wax+") & set(args[1]):
        if str(args[0]).endswith(".pyi"):  # Gradio's stub of a class that extends one of its components
            return
        what = "open for writing"
    elif event == "open" and os.sep + "models" + os.sep in str(args[0]):
        what = "open a model"
    else:
        return
    if is_ours(sys._getframe(1)):
        seen.add(f"{what}: {args!r:.120}")

def start(thread, start=threading.Thread.start):
    if is_ours(sys._getframe(1)):
        seen.add("a thread was started")
    start(thread)

threading.Thread.start = start
sys.addaudithook(watch)
for name in MODULES:
    importlib.import_module(name)
if "gradio" in sys.modules:
    from gradio.context import Context
    if Context.id:
        seen.add(f"{Context.id} Gradio components were built")
print(sorted(seen))
'''
