"""Writes `docs/api.md` from the docstrings of the public names: `make docs`.

Nothing is imported: names come from `aaa_jax/__init__.pyi`, the rest from the sources,
so the page is the same under every version of Python and JAX.
"""

import ast
import pathlib
import re
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "aaa_jax"
HEAD = """# The public names of `aaa_jax`

Made from the docstrings by `make docs`; do not edit. Shapes stand in brackets: M
policies, N images, Q sub-policies, S ops in each, B rows, K classes, H W C pixels.
[`examples/own_loop.py`](../examples/own_loop.py) and
[`examples/quickstart.ipynb`](../examples/quickstart.ipynb) use them in a training loop.
"""
SECTION = re.compile(r"(Args|Returns|Raises|Attributes|Yields):$")
ENTRY = re.compile(r"    (\w[\w, ]*):(?: (.*))?$")


def page() -> str:
    """The whole page."""
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    parts = [HEAD]
    for node in stub.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        path = f"aaa_jax/{(node.module or '').replace('.', '/')}.py"
        parts.append(f"## [{path}](../{path})\n")
        for name in node.names:
            parts += _entry(*_find(ROOT / path, name.name), name.name)
    return "\n".join(parts)


def _find(path: pathlib.Path, name: str) -> tuple[ast.stmt, str]:
    """The definition of a name and its docstring, through modules that import it."""
    body = ast.parse(path.read_text()).body
    for place, node in enumerate(body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node, ast.get_docstring(node) or ""
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            after = body[place + 1]
            text = after.value if isinstance(after, ast.Expr) else None
            return node, str(text.value) if isinstance(text, ast.Constant) else ""
        if isinstance(node, ast.ImportFrom) and name in [n.name for n in node.names]:
            module = f"{(node.module or '').replace('.', '/')}.py"
            return _find(ROOT / module, name)
    raise LookupError(f"{path} has no {name}")


def _entry(node: ast.stmt, docstring: str, name: str) -> Iterator[str]:
    """The signature, and the docstring as Markdown."""
    if not docstring:
        raise LookupError(f"{name} has no docstring")
    signature = _signature(node, name).replace("'", '"')  # as the formatter has it
    yield f"### `{name}`\n\n```python\n{signature}\n```\n"
    yield f"{_markdown(docstring)}\n"


def _signature(node: ast.stmt, name: str) -> str:
    if isinstance(node, ast.FunctionDef):
        start = f"{name}({ast.unparse(node.args)})"
        result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        if len(start) + len(result) <= 88:
            return start + result
        lines = "".join(f"    {text},\n" for text in _arguments(node.args))
        return f"{name}(\n{lines}){result}"
    if isinstance(node, ast.ClassDef):
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
        return "\n".join([f"class {name}:", *(f"    {_field(n)}" for n in fields)])
    assert isinstance(node, ast.AnnAssign)
    return f"{name}: {ast.unparse(node.annotation)}"


def _field(node: ast.AnnAssign) -> str:
    """A field of a record, with a default that is plain."""
    value = node.value if isinstance(node.value, ast.Constant) else None
    default = f" = {ast.unparse(value)}" if value else ""
    return f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}{default}"


def _arguments(found: ast.arguments) -> list[str]:
    """Each argument as it is written, with `*` before those that need their names."""
    missing: list[ast.expr | None] = [None] * (len(found.args) - len(found.defaults))
    places = zip(found.args, [*missing, *found.defaults], strict=True)
    texts = [_argument(*pair) for pair in places]
    names = zip(found.kwonlyargs, found.kw_defaults, strict=True)
    return [*texts, *["*"][: len(found.kwonlyargs)], *(_argument(*p) for p in names)]


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    text = ast.unparse(argument)
    return f"{text} = {ast.unparse(default)}" if default else text


def _markdown(docstring: str) -> str:
    """Sections of a docstring become bold words, their entries lists."""
    lines, in_section = [], False
    for line in docstring.splitlines():
        if SECTION.match(line):
            in_section = True
            lines.append(f"**{line.rstrip(':')}**\n")
        elif in_section and (found := ENTRY.match(line)):
            lines.append(f"- `{found[1]}`: {found[2] or ''}".rstrip())
        elif in_section and line.startswith("    "):
            lines.append(f"  {line.strip()}")
        else:
            in_section = in_section and not line
            lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    (ROOT / "docs" / "api.md").write_text(page())
