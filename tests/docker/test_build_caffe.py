"""The build script: its key, its work tree, its errors, and the Caffe that it has built."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

needs_compiler = pytest.mark.skipif(not shutil.which("c++"), reason="nothing to build with: the image holds a finished Caffe")

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "docker" / "build_caffe.py"


sys.path.insert(0, str(SCRIPT.parent))  # Python does so for a script: it imports cuda_toolkit


def load_script():
    """A fresh copy of the script as a module."""
    spec = importlib.util.spec_from_file_location("build_caffe", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build(monkeypatch):
    monkeypatch.delenv("CAFFE_SOURCE", raising=False)
    monkeypatch.delenv("CAFFE_CUDA", raising=False)
    return load_script()


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def read_tree(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


# --- the key ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary()), st.lists(st.binary()))
def test_digest_tells_part_lists_apart(first, second):
    module = load_script()
    assert (module.digest(*first) == module.digest(*second)) == (first == second)


@pytest.mark.parametrize("constant", ["NATIVE_LAYERS", "DOCKER"])
def test_changing_a_layer_or_a_patch_changes_the_key(build, monkeypatch, tmp_path, constant):
    before = build.inputs_digest()
    copy = tmp_path / "copy"
    shutil.copytree(getattr(build, constant), copy)
    monkeypatch.setattr(build, constant, copy)
    assert build.inputs_digest() == before
    changed = next(copy.rglob("*.patch" if constant == "DOCKER" else "*.hpp"))
    changed.write_text(changed.read_text() + "\n")
    assert build.inputs_digest() != before


def test_the_compiler_is_part_of_the_key(build, monkeypatch):
    before = build.inputs_digest()
    monkeypatch.setattr(build, "toolchain", lambda: {"compiler": "another"})
    assert build.inputs_digest() != before


def test_a_debug_build_has_a_key_and_a_work_tree_of_its_own(build, monkeypatch):
    """The name of the work tree is a digest of the toolchain, which includes the options."""
    monkeypatch.delenv("CAFFE_BUILD", raising=False)
    keys, toolchains = [build.inputs_digest()], [build.toolchain()]
    for name in "release", "debug":
        monkeypatch.setenv("CAFFE_BUILD", name)
        keys.append(build.inputs_digest())
        toolchains.append(build.toolchain())
    assert keys[0] == keys[1] != keys[2] and toolchains[0] == toolchains[1] != toolchains[2]


# --- the work tree ---------------------------------------------------------------------------------------------------

trees = st.dictionaries(st.sampled_from(["a.cpp", "b.hpp", "d/a.cpp", "d/e/c.cu"]), st.sampled_from(["1", "2"]))


@given(old=trees, new=trees)
def test_work_tree_becomes_equal_and_keeps_what_did_not_change(tmp_path_factory, old, new):
    module = load_script()
    folder = tmp_path_factory.mktemp("trees")
    work, wanted = write_tree(folder / "work", old), write_tree(folder / "new", new)
    work.mkdir(exist_ok=True)
    wanted.mkdir(exist_ok=True)
    for path in work.rglob("*.*"):
        os.utime(path, (1, 1))
    module.bring_up_to_date(work, wanted)
    assert read_tree(work) == new
    for name in new:
        assert ((work / name).stat().st_mtime == 1) == (old.get(name) == new[name])


@needs_compiler
def test_two_checkouts_give_the_compiler_the_same_commands(tmp_path):
    """Otherwise all of a shared work tree would be compiled again. NumPy's headers lie elsewhere in each checkout."""
    targets = "".join(f"add_library({name} a.cpp)\n" for name in ("caffe", "caffeproto", "pycaffe", "test.testbin"))
    targets += "".join(f"target_include_directories({name} PRIVATE ${{NUMPY_INCLUDE_DIR}} include)\n"
                       for name in ("caffe", "pycaffe"))
    source = write_tree(tmp_path / "src", {
        "CMakeLists.txt": "cmake_minimum_required(VERSION 3.19)\nproject(Caffe CXX)\nset(Caffe_COMPILE_OPTIONS PUBLIC -w)\n"
                          f"{targets}add_subdirectory(tools)\n",
        "tools/CMakeLists.txt": "add_library(caffe.bin ../a.cpp)\nadd_library(tool ../a.cpp)\n", "a.cpp": ""})
    commands = []
    faster = ROOT / "docker/additions/cmake/faster_build.cmake"
    for checkout in "one", "two":
        subprocess.run(["cmake", "-S", source, "-B", tmp_path / "build", "-G", "Ninja", "-Wno-dev",
                        f"-DNUMPY_INCLUDE_DIR=/{checkout}/.venv/numpy",
                        f"-DCMAKE_PROJECT_INCLUDE={faster}"], check=True, capture_output=True)
        commands.append(subprocess.run(["ninja", "-C", tmp_path / "build", "-t", "commands"], check=True, text=True,
                                       capture_output=True).stdout)
    assert f"-I{source}/../numpy" in commands[0]
    assert commands[0] == commands[1]


def test_interrupted_install_leaves_nothing_and_the_next_one_is_complete(build, monkeypatch, tmp_path):
    names = ("CMakeLists.txt", "python/caffe/test/test_x.py", "models/m", "include/caffe/layers/l",
             "src/caffe/layers/l", "src/caffe/test/t", "cmake/c")
    source = write_tree(tmp_path / "caffe", dict.fromkeys(names, ""))
    docker = write_tree(tmp_path / "docker", {"apt-build.txt": "g++", "caffe-source.txt": "x==1 --hash=sha256:0",
                                              "additions/cmake/faster_build.cmake": ""})
    (docker / "patches").mkdir()
    monkeypatch.setattr(build, "DOCKER", docker)
    monkeypatch.setenv("CAFFE_SOURCE", str(source))
    cmake = write_tree(tmp_path, {"bin/cmake": f"""#!/bin/sh
        case $1 in
            --install) mkdir -p "$4/python/caffe" && echo installed >"$4/python/caffe/__init__.py" ;;
            --build) echo "[1/2] x.cpp"; echo "x.cpp:1: error: no"; [ ! -e {tmp_path}/fail ] ;;
            *) mkdir -p "$4" && echo "build lib/_caffe.so: link" >"$4/build.ninja" ;;
        esac"""}) / "bin/cmake"
    cmake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{cmake.parent}:{os.environ['PATH']}")
    cache, prefix = tmp_path / "cache", tmp_path / "cache" / "caffe-key"
    cache.mkdir()

    (tmp_path / "fail").touch()
    with pytest.raises(build.BuildError, match=r"failed; its whole output is in \S+/build.log, "
                                              r"with these errors:\nx.*error: no$"):
        build.install(cache, prefix)
    log = next(cache.glob("work-*/build.log"))
    assert log.read_text() == "[1/2] x.cpp\nx.cpp:1: error: no\n"
    assert not prefix.exists()

    (tmp_path / "fail").unlink()
    build.install(cache, prefix)
    assert (prefix / "python/caffe/__init__.py").read_text() == "installed\n"
    assert (prefix / "python/caffe/build.json").exists() and (prefix / "models/m").exists()
    assert sorted(p.name for p in cache.iterdir() if not p.name.startswith("work-")) == ["caffe-key"]


# --- failures --------------------------------------------------------------------------------------------------------


def run_script(**environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, env=os.environ | environment)


def test_another_source_must_be_caffe(tmp_path):
    done = run_script(CAFFE_SOURCE=str(tmp_path), CAFFE_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert done.stderr == f"error: CAFFE_SOURCE={tmp_path} is not a checkout of Caffe: it has no CMakeLists.txt\n"


def test_an_unknown_kind_of_build_is_one_line(tmp_path):
    done = run_script(CAFFE_BUILD="fast", CAFFE_CACHE=str(tmp_path))
    assert (done.returncode, done.stderr) == (2, "error: CAFFE_BUILD=fast is unknown: give one of release, debug\n")


def test_archive_with_another_checksum_is_refused(build, tmp_path):
    archive = tmp_path / "downloads" / "brocolli-caffe-3.0.0.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz"):
        pass
    with pytest.raises(build.BuildError, match=f"{archive} has the SHA-256 .* delete it"):
        build.fetch_source(tmp_path)


def test_unwritable_cache_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    done = run_script(CAFFE_CACHE=str(tmp_path / "file" / "cache"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_who_is_not_root_gets_the_apt_command(tmp_path):
    fakes = write_tree(tmp_path, {"id": "#!/bin/sh\necho 1000", "dpkg-query": "#!/bin/sh\necho 'cmake installed'"})
    for fake in fakes.iterdir():
        fake.chmod(0o755)
    (tmp_path / "list.txt").write_text("# a comment\ncmake g++\npatch\n")
    done = subprocess.run([str(ROOT / "docker/apt.sh"), str(tmp_path / "list.txt")], capture_output=True, text=True,
                          env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 2
    assert "    sudo apt-get install --no-install-recommends g++ patch\n" in done.stderr


def test_fedora_gets_the_dnf_command(tmp_path):
    tools = write_tree(tmp_path / "bin", {"dnf": "#!/bin/sh", "rpm": '#!/bin/sh\n[ "$3" = cmake ]'})
    for tool in tools.iterdir():
        tool.chmod(0o755)
    for tool in ("sh", "sed", "tr", "cat"):
        (tools / tool).symlink_to(shutil.which(tool))
    write_tree(tmp_path, {"apt-build.txt": "libglog-dev", "dnf-build.txt": "# a comment\ncmake glog-devel\n"})
    done = subprocess.run([str(ROOT / "docker/apt.sh"), str(tmp_path / "apt-build.txt")], capture_output=True, text=True,
                          env={"PATH": str(tools)})
    assert done.returncode == 2
    assert done.stderr.endswith("\n    sudo dnf install glog-devel\n")


@needs_compiler
def test_an_interpreter_without_boost_python_is_told_which_one_has_it(build, monkeypatch):
    monkeypatch.setattr(build, "sys", SimpleNamespace(base_prefix="/opt/python", version_info=(3, 99)))
    has = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert re.search(rf"Boost.Python is here for Python .*\b{has}\b.*, not for /opt/python/bin/python3.99: .*PYTHON=python3",
                     build.no_boost_python())


# --- the Caffe that it made ------------------------------------------------------------------------------------------


def python(code: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)


def test_caffe_imports_from_anywhere_with_an_empty_environment(tmp_path):
    done = python("import caffe, layers; print('UnifiedWeightLoss' in caffe.layer_type_list())", env={}, cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_installed_python_messages_have_our_fields():
    from caffe.proto import caffe_pb2

    parameter = caffe_pb2.LossParameter()
    assert (parameter.lamda_p, parameter.scale, parameter.q, parameter.pre_fixed_normalizer) == (1, 1, 0.7, 1)


@needs_compiler
def test_a_second_run_builds_nothing(tmp_path):
    fake = write_tree(tmp_path, {"cmake": "#!/bin/sh\necho called >&2\nexit 1"}) / "cmake"
    fake.chmod(0o755)
    done = run_script(PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_unknown_field_is_an_error_with_its_name_and_line(tmp_path):
    net = tmp_path / "net.prototxt"
    net.write_text('layer {\n  name: "x" type: "Softmax"\n  loss_param { lambda: 1 }\n}\n')
    done = python(f"import caffe; caffe.Net({str(net)!r}, caffe.TRAIN)")
    assert done.returncode < 0
    assert '3:22: Message type "caffe.LossParameter" has no field named "lambda"' in done.stderr


def test_pre_fixed_normalisation_divides_by_its_number(tmp_path):
    import caffe

    values = {}
    for mode in "normalization: NONE", "normalization: PRE_FIXED pre_fixed_normalizer: 2.5":
        net_file = tmp_path / "net.prototxt"
        net_file.write_text(
            'input: "x" input_dim: 4 input_dim: 3 input_dim: 1 input_dim: 1 '
            'input: "y" input_dim: 4 input_dim: 1 input_dim: 1 input_dim: 1 '
            'layer { type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "loss" loss_param { %s } }' % mode
        )
        net = caffe.Net(str(net_file), caffe.TRAIN)
        net.blobs["x"].data[...] = [[[[i * j]] for j in range(3)] for i in range(4)]
        values[mode[:20]] = float(net.forward()["loss"])
    assert values["normalization: PRE_F"] == pytest.approx(values["normalization: NONE"] / 2.5, rel=1e-6)


# --- Caffe's tools ---------------------------------------------------------------------------------------------------

NET = """name: "small" input: "data" input_dim: 2 input_dim: 3 input_dim: 32 input_dim: 32
layer { name: "scores" type: "InnerProduct" bottom: "data" top: "scores"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "probs" type: "Softmax" bottom: "scores" top: "probs" }
"""


@pytest.fixture
def small(tmp_path) -> Path:
    """A folder with a net, its weights, and an image whose size is not that of the net's input."""
    import caffe
    import numpy as np
    import skimage.io

    (tmp_path / "net.prototxt").write_text(NET)
    caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST).save(str(tmp_path / "net.caffemodel"))
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    skimage.io.imsave(tmp_path / "image.png", pixels)
    return tmp_path


def tool(name: str, *arguments: str, cwd: Path) -> None:
    """Run a tool as a user does, without environment variables that could help it."""
    done = subprocess.run([Path(sys.prefix) / "bin" / name, *arguments], cwd=cwd, capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0, done.stderr


def test_tools_beside_the_interpreter(small):
    import numpy as np

    tool("caffe", "time", "-model", "net.prototxt", "-iterations", "1", cwd=small)
    tool("upgrade_net_proto_text", "net.prototxt", "new.prototxt", cwd=small)
    tool("classify.py", "--model_def", "new.prototxt", "--pretrained_model", "net.caffemodel", "--mean_file", "",
         "--images_dim", "36,36", "image.png", "probabilities.npy", cwd=small)
    probabilities = np.load(small / "probabilities.npy")
    assert probabilities.shape == (1, 10) and probabilities.sum() == pytest.approx(1)


@pytest.mark.skipif(not shutil.which("dot"), reason="draw_net.py needs Graphviz's dot")
def test_draw_net(small):
    tool("draw_net.py", "net.prototxt", "net.svg", cwd=small)
    assert "InnerProduct" in (small / "net.svg").read_text()


def test_every_program_of_caffe_is_on_the_path():
    from caffe import _caffe

    programs = Path(_caffe.__file__).parents[2] / "bin"
    assert len(list(programs.iterdir())) >= 7
    for program in programs.iterdir():
        assert (Path(sys.prefix) / "bin" / program.name).resolve() == program.resolve()


def test_the_detector_crops_windows_with_their_context(small):
    """A window of 30 x 30 with a pixel of context on each side fills the net's 32 x 32."""
    import caffe
    import numpy as np

    detector = caffe.Detector(str(small / "net.prototxt"), str(small / "net.caffemodel"), context_pad=1)
    file, window = str(small / "image.png"), np.array([10, 12, 39, 41])
    image = caffe.io.load_image(file)
    np.testing.assert_array_equal(detector.crop(image, window), image[9:41, 11:43])
    [found] = detector.detect_windows([(file, [window])])
    assert found["prediction"].shape == (10,) and found["prediction"].sum() == pytest.approx(1)
