"""Imports and includes go one way.

estimators → trainer → network → _core → cpp/include ← cpp/src → kernel table ← cpp/kernels
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "densegrad"
CPP = ROOT / "cpp"

# A module may import from its own row and the rows above it. A new module takes its place here.
LAYERS = [
    {"_validation"},
    {"_cpp", "_core"},
    {"_tables", "backpropagation", "config", "_optimizers", "schedules", "storage"},
    {"_loss", "layers"},
    {"_samples", "initializers"},
    {"network"},
    {"gradient_check", "history"},
    {"_epochs"},
    {"trainer"},
    {"estimators"},
    {"__init__"},
]
RANK = {module: rank for rank, row in enumerate(LAYERS) for module in row}

# What the kernels may see of the outside: the tables and the views, plain data all of them.
KERNEL_HEADERS = {f"densegrad/{name}.hpp" for name in ("activations", "losses", "optimizers", "data")}
INTRINSICS = re.compile(r"\w*intrin\.h|arm_\w+\.h")


def includes(path: Path) -> set[str]:
    return set(re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE))


def sources(directory: Path) -> list[Path]:
    found = sorted(directory.rglob("*.[ch]pp"))
    assert found, f"no sources in {directory}"
    return found


def imports(path: Path) -> list[tuple[str, list[str]]]:
    """Name of each module imported, with the names taken from it; imports for types only left out."""
    if path.suffix in {".pyx", ".pxd"}:  # Cython is not quite Python
        pattern = r"^\s*from\s+([\w.]+)\s+c?import\s+\(?([\w, ]*)"
        found = re.findall(pattern, path.read_text(), re.MULTILINE)
        return [(module, [name.split()[0] for name in names.split(",") if name]) for module, names in found]
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            package = ["densegrad", *path.relative_to(PACKAGE).parent.parts]
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.append((module, [alias.name for alias in node.names]))
        elif isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
    return found


PUBLIC = {  # which module a name of the package comes from
    name: module.split(".")[1]
    for module, names in imports(PACKAGE / "__init__.py")
    for name in names
    if module.startswith("densegrad.")
}


def imported_modules(path: Path) -> set[str]:
    """Modules of the package that a module imports, wherever in the file it does so."""
    found: set[str] = set()
    for module, names in imports(path):
        if module == "densegrad":
            found |= {PUBLIC.get(name, name) for name in names}
        elif module.startswith("densegrad."):
            found.add(module.split(".")[1])
    return found


def module_name(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


MODULES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyi", ".pyx", ".pxd"})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_python_imports_go_one_way(path: Path) -> None:
    module = module_name(path)
    assert module in RANK, f"give {module} its place in LAYERS"
    for other in imported_modules(path):
        assert other in RANK, f"{module} imports {other}, which has no place in LAYERS"
        assert RANK[other] <= RANK[module], f"{module} must not import {other}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_estimators_need_scikit_learn(path: Path) -> None:
    outside = {module.split(".")[0] for module, _ in imports(path)}
    assert module_name(path) == "estimators" or not outside & {"sklearn", "scipy"}


# backpropagation has the Jacobians, which are made where somebody asks to see them.
TRAINING = [path for path in MODULES if path.suffix == ".py" and path.stem != "backpropagation"]


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_blas_in_training(path: Path) -> None:
    # Its threads would spin for a tenth of a second where ours need CPUs; its sums depend on their number.
    for node in ast.walk(ast.parse(path.read_text())):
        assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)), node.lineno
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"dot", "vdot", "inner", "matmul", "tensordot", "linalg"}, node.lineno


def test_one_module_knows_cpp() -> None:
    assert {path.name for path in PACKAGE.rglob("*.p[yx][xd]")} <= {"_core.pyx", "_cpp.pxd"}


def test_public_headers_are_plain_cpp() -> None:
    for path in sources(CPP / "include"):
        for header in includes(path):
            assert header != "Python.h", path
            assert not INTRINSICS.fullmatch(header), path
            assert "/" not in header or header.startswith("densegrad/"), f"{path} includes {header}"
            assert not (CPP / "kernels" / header).exists(), f"{path} includes the kernels' {header}"


def test_sources_see_kernels_through_their_table_only() -> None:
    for path in sources(CPP / "src"):
        own = {p.name for p in (CPP / "src").glob("*.hpp")}
        for header in includes(path):
            assert header != "Python.h", path
            assert not INTRINSICS.fullmatch(header), path
            if header.endswith(".hpp") and not header.startswith("densegrad/") and header not in own:
                assert Path(header).name == "contract.hpp", f"{path} includes {header}"


def test_kernels_include_nothing_from_outside() -> None:
    own = {path.name for path in (CPP / "kernels").glob("*.hpp")}
    for path in sources(CPP / "kernels"):
        allowed = {"cstdint", "cstddef"} | KERNEL_HEADERS | own
        for header in includes(path) - allowed:
            assert path.name == "simd.hpp", f"{path} includes {header}"
            assert INTRINSICS.fullmatch(header), f"{path} includes {header}"


def test_kernels_use_no_library() -> None:
    for path in sources(CPP / "kernels"):
        code = re.sub(r"//.*|/\*.*?\*/", "", path.read_text())
        names = set(re.findall(r"\bstd::(\w+)", code))
        assert names <= {"int32_t", "int64_t", "uint8_t", "uint32_t", "uint64_t", "size_t", "ptrdiff_t"}, path


def test_one_file_knows_openmp() -> None:
    pattern = re.compile(r"#\s*pragma\s+omp|\bomp\.h\b|\bomp_\w+\(|\b_OPENMP\b")
    assert [path.name for path in sources(CPP) if pattern.search(path.read_text())] == ["cpus.cpp"]
