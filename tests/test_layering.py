"""Imports and includes go one way, imports for types included, and nobody reaches into another object.

dask, display, tabular → estimators → training → network → samples → spec → _core → cpp/include
cpp/include ← cpp/src → kernel table ← cpp/kernels
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "densegrad"
CPP = ROOT / "cpp"

# A module may import from the rows above its own. A new module takes its place here.
LAYERS = [
    {"_names", "_versions", "extras", "typing"},
    {"_validation"},
    {"_arrays"},
    {"_cpp", "_core"},
    {"_tables", "config", "_optimizers", "schedules"},
    {"_losses", "_activations"},
    {"layers"},
    {"initializers", "spec"},
    {"coupled_heads", "samples", "storage", "per_layer", "products"},
    {"backpropagation", "second_derivatives"},
    {"custom_losses", "elementwise"},
    {"both_passes", "derivatives"},
    {"network"},
    {"gradient_check", "files", "interop.passes"},
    {"interop.jax_function", "interop.torch_function"},
    {"interop"},
    {"training.history", "training.descent", "training.order", "training.communicator", "training"},
    {"training.shards"},
    {
        "training.arguments",
        "training.checkpoint",
        "training.lbfgs",
        "training.rates",
        "training.observers",
        "training.ranks",
    },
    {"training.sources", "training.stopping"},
    {"training.loop", "training.sharded_rows"},
    {"training.minimisation"},
    {"training.averaged_rows", "training.trainer_state"},
    {"training.trainer"},
    {"distributed.mpi", "distributed.threads"},
    {"distributed.connecting"},
    {"distributed"},
    {"tabular.frame"},
    {"estimators.rows"},
    {"estimators.docs", "estimators.sklearn_callbacks", "estimators.warn", "estimators.weights"},
    {"estimators.decorators", "estimators.parameters", "estimators.targets"},
    {"estimators.best_weights", "estimators.validation"},
    {"estimators.training", "estimators.lbfgs"},
    {"estimators.fitted_network", "estimators.sharded"},
    {"estimators.persistence"},
    {"estimators.preparation"},
    {"estimators.base"},
    {"estimators.classifier", "estimators.regressor"},
    {"estimators"},
    {"tabular.folds", "tabular.standard_target", "tabular.portable", "tabular.constraints"},
    {"tabular.columns", "tabular.number_encoding", "tabular.tasks", "tabular.calibration", "tabular.recipe"},
    {"tabular.level_encoding", "tabular.member"},
    {"tabular.crossings", "tabular.inputs"},
    {"tabular.ensemble", "tabular.memory", "tabular.budget"},
    {"tabular.race", "tabular.saving"},
    {"tabular.arguments", "tabular.encoder", "tabular.fitting", "tabular.persistence"},
    {"tabular.base"},
    {"tabular.classifier", "tabular.regressor"},
    {"tabular"},
    {"display._drawing", "display._models", "display._numbers"},
    {"display.diagnostics"},
    {"display._canvas", "display._html", "display._passes", "display._svg"},
    {"display._detail", "display._formulas", "display._units"},
    {"display._walk_steps"},
    {"display._graph"},
    {
        "display.activation_display",
        "display.decision_boundary",
        "display.gradient_check_display",
        "display.learning_curve",
        "display.network_display",
        "display.network_html",
        "display.walk",
        "display.weights_display",
    },
    {"display.gradient_flow"},
    {"display"},
    {"export.functions", "export.packages"},
    {"export.c", "export.graph"},
    {"export.predictions"},
    {"export.onnx", "export.converters"},
    {"export"},
    {"dask.labels", "dask.packages"},
    {"dask.placement", "dask.predictions", "dask.rows", "dask.streams"},
    {"dask.rank"},
    {"dask.attempts"},
    {"dask.training"},
    {"dask.estimators"},
    {"dask"},
    {"__init__"},
    {"__main__"},
]
RANK = {module: rank for rank, row in enumerate(LAYERS) for module in row}
# `initializers` draws for the layers of a description; `_core` takes arrays by way of `_arrays`.
SAME_ROW = {("initializers", "spec"), ("_core", "_cpp")}

# What the kernels may see of the outside: the tables and the views, plain data all of them.
KERNEL_TABLES = ("activations", "layers", "losses", "optimizers", "data")
KERNEL_HEADERS = {f"densegrad/{name}.hpp" for name in KERNEL_TABLES}
INTRINSICS = re.compile(r"\w*intrin\.h|arm_\w+\.h")


def includes(path: Path) -> set[str]:
    return set(re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE))


def sources(directory: Path) -> list[Path]:
    found = sorted(directory.rglob("*.[ch]pp"))
    assert found, f"no sources in {directory}"
    return found


def imports(path: Path) -> list[tuple[str, list[str]]]:
    """Name of each module imported, with the names taken from it; imports for types are imports, too."""
    if path.suffix in {".pyx", ".pxd"}:  # Cython is not quite Python
        pattern = r"^\s*from\s+([\w.]+)\s+c?import\s+\(?([\w, ]*)"
        found = re.findall(pattern, path.read_text(), re.MULTILINE)
        return [(module, [name.split()[0] for name in names.split(",") if name]) for module, names in found]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            package = ["densegrad", *path.relative_to(PACKAGE).parent.parts]
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.append((module, [alias.name for alias in node.names]))
        elif isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
    return found


def module_name(path: Path) -> str:
    """Its name in the package: "training.loop"; a folder's __init__ has the folder's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


PUBLIC = {  # which module a name of the package comes from
    name: module.removeprefix("densegrad.")
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
            inner = module.removeprefix("densegrad.")
            below = {f"{inner}.{name}" for name in names}
            found |= below & RANK.keys() or {inner}
    return found


MODULES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyi", ".pyx", ".pxd"})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_python_imports_go_one_way(path: Path) -> None:
    module = module_name(path)
    assert module in RANK, f"give {module} its place in LAYERS"
    for other in imported_modules(path) - {module}:
        assert other in RANK, f"{module} imports {other}, which has no place in LAYERS"
        allowed = RANK[other] < RANK[module] or (module, other) in SAME_ROW
        assert allowed, f"{module} must not import {other}"


# Private names of other libraries that we cannot do without.
LIBRARY = {
    "_parameter_constraints",  # scikit-learn reads it of the class
    "_init_callback_context",  # scikit-learn's callbacks
    "_bit_generator",  # NumPy's RandomState
    "_rand",  # NumPy's global RandomState
    "_replace",  # of a NamedTuple
}


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.suffix == ".py"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_private_names_are_used_by_their_owner_alone(path: Path) -> None:
    tree = ast.parse(path.read_text())
    modules = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.name[0].islower() or alias.name[0] == "_"
    }
    for node in ast.walk(tree):
        if (
            not isinstance(node, ast.Attribute)
            or not re.fullmatch(r"_[^_]\w*", node.attr)
            or node.attr in LIBRARY
        ):
            continue
        owner = node.value
        is_own = isinstance(owner, ast.Name) and owner.id in {"self", "cls"} | modules
        is_super = isinstance(owner, ast.Call) and ast.unparse(owner.func) == "super"
        assert is_own or is_super, f"line {node.lineno}: {ast.unparse(node)}"


def test_one_file_writes_fitted_attributes() -> None:
    for path in MODULES:
        if path.parent.name != "estimators" or path.name == "base.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                fitted = isinstance(target, ast.Attribute) and re.fullmatch(r"[a-z]\w*_", target.attr)
                assert not fitted, f"{path.name}, line {node.lineno}"


SHAPE_OF_WEIGHTS = re.compile(r"n_in \+ 1|n_inputs \+ 1|width\(l - 1\) \+ 1")


def test_one_file_knows_the_shape_of_the_weights() -> None:
    knowing = {path.name for path in MODULES if SHAPE_OF_WEIGHTS.search(strip_strings(path))}
    assert knowing <= {"spec.py"}


def strip_strings(path: Path) -> str:
    """The code of a module without its docstrings and messages."""
    if path.suffix != ".py":
        return re.sub(r'""".*?"""|#[^\n]*', "", path.read_text(), flags=re.DOTALL)
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.unparse(tree)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_estimators_need_scikit_learn(path: Path) -> None:
    outside = {module.split(".")[0] for module, _ in imports(path)}
    above = module_name(path).startswith(("estimators", "tabular", "dask"))
    assert above or not outside & {"sklearn", "scipy"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "display").glob("*.py")), ids=lambda path: path.name)
def test_pictures_read_public_names_alone(path: Path) -> None:
    for module, _ in imports(path):
        outside = module.startswith("densegrad") and not module.startswith("densegrad.display")
        assert not outside or not any(part.startswith("_") for part in module.split(".")), module


# backpropagation has the Jacobians, which are made if somebody asks to see them.
TRAINING = [path for path in MODULES if path.suffix == ".py" and path.stem != "backpropagation"]


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_blas_in_training(path: Path) -> None:
    # Its threads would spin for a tenth of a second while ours need CPUs; its sums depend on their number.
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
