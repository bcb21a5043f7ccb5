"""abi: the ctypes mirror is smft.h: every struct field, constant, status, function, and the library's exported functions."""
import ctypes
import os
import re
import shlex
import subprocess
import unittest

from support import SOURCE, TestCase, smft
from smft import _abi, errors

HEADER = SOURCE / "include" / "smft" / "smft.h"
TEXT = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)


def header_structs():
    """Name -> names of the fields, in order."""
    structs = {}
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", TEXT, flags=re.S):
        fields = []
        for declaration in filter(None, (part.strip() for part in body.split(";"))):
            first, *others = declaration.split(",")
            fields += [re.search(r"(\w+)(?:\[\d+\])?$", one.strip()).group(1) for one in (first, *others)]
        structs[name] = fields
    return structs


def header_functions():
    """Name -> (result, arguments) as text."""
    found = re.findall(r"SMFT_API\s+([\w\s*]+?)(smft_\w+)\(([^;]*?)\);", TEXT, flags=re.S)
    return {name: (result.strip(), [" ".join(one.split()) for one in arguments.split(",") if one.strip() != "void"])
            for result, name, arguments in found}


# What a field is, beyond its size: int64_t and double have the same.
KINDS = {ctypes.c_int32: "i32", ctypes.c_uint32: "u32", ctypes.c_int64: "i64", ctypes.c_uint64: "u64", ctypes.c_float: "f32",
         ctypes.c_double: "f64", ctypes.c_char_p: "text", ctypes.POINTER(ctypes.c_int32): "i32*",
         ctypes.POINTER(ctypes.c_int64): "i64*", ctypes.POINTER(ctypes.c_float): "f32*", ctypes.POINTER(ctypes.c_char_p): "texts", ctypes.c_void_p: "void*",
         _abi.ProgressFn: "progress", _abi.LogFn: "log", _abi.AllocFn: "alloc", _abi.ReallocFn: "realloc", _abi.FreeFn: "free",
         _abi.ParallelForFn: "parallel", _abi.TokenFn: "token", _abi.FactFn: "fact",
         ctypes.POINTER(ctypes.POINTER(_abi.Background)): "sources", ctypes.POINTER(_abi.ChatOptions): "chat"}


def kind_of(field):
    """An array of characters has its size in its type; C says char * of it."""
    return "chars" if getattr(field, "_type_", None) is ctypes.c_char else KINDS[field]


GENERIC = """#define KIND(x) _Generic((x), int32_t: "i32", uint32_t: "u32", int64_t: "i64", uint64_t: "u64", float: "f32", double: "f64", \\
  const char *: "text", char *: "chars", const char *const *: "texts", const smft_background *const *: "sources", const int32_t *: "i32*", const int64_t *: "i64*", const float *: "f32*", void *: "void*", \\
  smft_progress_fn: "progress", smft_log_fn: "log", smft_alloc_fn: "alloc", smft_realloc_fn: "realloc", smft_free_fn: "free", \\
  smft_parallel_for_fn: "parallel", smft_token_fn: "token", smft_fact_fn: "fact", const smft_chat_options *: "chat")
"""


class Layout(TestCase):
    def compiled(self, lines):
        """What a C program with these statements prints."""
        source, program = self.directory / "print.c", self.directory / "print"
        source.write_text("#include <stdio.h>\n#include \"smft/smft.h\"\n" + GENERIC + "int main(void) {\n" + "\n".join(lines) +
                          "\nreturn 0; }\n")
        compiler = shlex.split(os.environ.get("CC") or "cc")
        try:
            subprocess.run([*compiler, "-I", str(SOURCE / "include"), str(source), "-o", str(program)], check=True)
        except FileNotFoundError:
            self.skipTest(f"no C compiler ({compiler[0]})")
        return subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout.splitlines()

    def test_every_struct_has_a_mirror_with_the_same_fields(self):
        structs = header_structs()
        self.assertGreater(len(structs), 15)
        self.assertEqual(set(structs), set(_abi.STRUCTS))
        for name, fields in structs.items():
            self.assertEqual(fields, [field[0] for field in _abi.STRUCTS[name]._fields_], name)

    def test_every_field_is_where_c_has_it(self):
        lines, wanted = [], []
        for name, mirror in _abi.STRUCTS.items():
            lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
            wanted.append(f"{name} {ctypes.sizeof(mirror)}")
            for field, *_ in mirror._fields_:
                member = f"(({name} *)0)->{field}"
                lines.append(f'printf("{name}.{field} %zu %zu %s\\n", __builtin_offsetof({name}, {field}), sizeof({member}), '
                             f'KIND({member}));')
                place = getattr(mirror, field)
                wanted.append(f"{name}.{field} {place.offset} {place.size} {kind_of(dict(mirror._fields_)[field])}")
        self.assertEqual(self.compiled(lines), wanted)

    def test_constants(self):
        names = sorted(_abi.CONSTANTS)
        defined = set(re.findall(r"^#define SMFT_(\w+) +\d+u?\s*(?:/\*.*)?$", HEADER.read_text(), flags=re.M))
        self.assertEqual(set(names), {name for name in defined if not name.startswith("VERSION_")})
        printed = self.compiled([f'printf("{name} %ld\\n", (long)SMFT_{name});' for name in names])
        self.assertEqual(printed, [f"{name} {_abi.CONSTANTS[name]}" for name in names])

    def test_a_moved_field_would_be_seen(self):
        moved = [("struct_size", ctypes.c_uint32), ("correct", ctypes.c_int32), ("extra", ctypes.c_int64)]
        mirror = type("Moved", (ctypes.Structure,), {"_fields_": moved + _abi.ProbeItem._fields_[2:]})
        self.assertNotEqual(mirror.before.offset, _abi.ProbeItem.before.offset)


class Functions(unittest.TestCase):
    def test_every_function_is_declared_with_as_many_arguments(self):
        functions = header_functions()
        self.assertGreater(len(functions), 70)
        self.assertEqual(set(functions), set(_abi.FUNCTIONS))
        for name, (_, arguments) in functions.items():
            self.assertEqual(len(arguments), len(_abi.FUNCTIONS[name][1]), name)

    def test_argument_and_result_types(self):
        scalars = {"int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64, "uint32_t": ctypes.c_uint32, "uint64_t": ctypes.c_uint64,
                   "size_t": ctypes.c_size_t, "double": ctypes.c_double, "smft_status": ctypes.c_int32, "void": None,
                   "smft_progress_fn": _abi.ProgressFn}
        handles = {"ctx": _abi.Ctx, "model": _abi.Model, "memory": _abi.Memory, "tokenizer": _abi.Tokenizer, "patch": _abi.Patch,
                   "session": _abi.Session, "selector": _abi.Selector, "optimizer": _abi.Optimizer, "learner": _abi.Learner,
                   "probe": _abi.Probe, "wordings": _abi.Wordings}
        for name, (result, arguments) in header_functions().items():
            kinds = [(result, _abi.FUNCTIONS[name][0])] + list(zip(arguments, _abi.FUNCTIONS[name][1]))
            for text, mirror in kinds:
                text = text.replace("const ", "")
                base = text.split("*")[0].split()[0]
                stars = text.count("*")
                if stars == 0:
                    self.assertIs(mirror, scalars[base], f"{name}: {text}")
                elif base in ("char", "void"):
                    self.assertIn(mirror, (ctypes.c_char_p, ctypes.c_void_p) if stars == 1 else
                                  (ctypes.POINTER(ctypes.c_char_p), ctypes.POINTER(ctypes.c_void_p)), f"{name}: {text}")
                else:
                    kind = handles.get(base[5:]) or _abi.STRUCTS.get(base) or (ctypes.c_float if base == "float" else scalars.get(base))
                    for _ in range(stars):
                        kind = ctypes.POINTER(kind)
                    self.assertIs(mirror, kind, f"{name}: {text}")

    def test_callback_types(self):
        mirrors = {"smft_progress_fn": _abi.ProgressFn, "smft_log_fn": _abi.LogFn, "smft_alloc_fn": _abi.AllocFn,
                   "smft_realloc_fn": _abi.ReallocFn, "smft_free_fn": _abi.FreeFn, "smft_block_fn": _abi.BlockFn,
                   "smft_parallel_for_fn": _abi.ParallelForFn, "smft_token_fn": _abi.TokenFn, "smft_fact_fn": _abi.FactFn}
        kinds = {"void": None, "int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64, "size_t": ctypes.c_size_t,
                 "void *": ctypes.c_void_p, "const char *": ctypes.c_char_p, "const struct smft_report *": ctypes.c_void_p, "smft_block_fn": _abi.BlockFn}
        found = re.findall(r"typedef ([\w *]+?)\s*\(\*(\w+)\)\((.*?)\);", TEXT, flags=re.S)
        self.assertEqual({name for _, name, _ in found}, set(mirrors))
        for result, name, arguments in found:
            types = [re.sub(r"\w+$", "", one.strip()).strip() for one in arguments.split(",")]
            wanted = [kinds[one] for one in types]
            if name == "smft_token_fn":  # its text comes with a length
                wanted[2] = ctypes.c_void_p
            self.assertEqual([mirrors[name]._restype_, *mirrors[name]._argtypes_], [kinds[result], *wanted], name)

    def test_version(self):
        number = [int(re.search(rf"#define SMFT_VERSION_{part} (\d+)", TEXT).group(1)) for part in ("MAJOR", "MINOR", "PATCH")]
        self.assertEqual(tuple(number[:2]), _abi.VERSION)
        project = (SOURCE / "bindings" / "python" / "pyproject.toml").read_text()
        self.assertIn('version = "{}.{}.{}"'.format(*number), project)

    def test_the_wrong_handle_is_refused(self):
        context = smft.default_context()
        with self.assertRaises(ctypes.ArgumentError):
            smft._lib.smft_model_hash(context._held().pointer)


class Statuses(unittest.TestCase):
    def test_the_table_is_the_headers(self):
        found = re.findall(r'X\((\w+), (-?\d+), "(.*?)"\)', TEXT)
        self.assertGreater(len(found), 15)
        wanted = {int(number): (name, meaning) for name, number, meaning in found if name != "OK"}
        got = {kind.status: (kind.name, kind.meaning) for kind in errors.BY_STATUS.values()}
        self.assertEqual(got, wanted)
        for number, (name, meaning) in wanted.items():
            self.assertEqual(smft._lib.smft_status_name(number).decode(), name)
            self.assertEqual(smft._lib.smft_status_meaning(number).decode(), meaning)

    def test_each_raises_its_own_exception(self):
        for number, kind in errors.BY_STATUS.items():
            with self.assertRaises(kind):
                errors.check(number)
        with self.assertRaises(smft.Error) as caught:
            errors.check(-12345)
        self.assertEqual(caught.exception.status, -12345)

    def test_all_exceptions_are_exported(self):
        for kind in errors.BY_STATUS.values():
            self.assertIs(getattr(smft, kind.__name__), kind)
