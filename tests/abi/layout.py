#!/usr/bin/env python3
"""layout: prints `struct.field offset size` for every public struct of smft.h, and `struct size`, by compiling a C program.
usage: layout.py HEADER [CC]"""
import os
import re
import subprocess
import sys
import tempfile


def structs(text):
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    for match in re.finditer(r"typedef struct (smft_\w+) \{(.*?)\} \1;", text, re.S):
        fields = []
        for declaration in match.group(2).split(";"):
            names = re.sub(r"^\s*(const\s+)?(struct\s+)?\w+(\s+const)?", "", declaration.strip(), count=1)
            names = re.sub(r"\bconst\b", "", names)
            fields += [re.sub(r"[\s*]|\[.*", "", name) for name in names.split(",") if name.strip()]
        yield match.group(1), [field for field in fields if field]


def main():
    header = os.path.abspath(sys.argv[1])
    compiler = sys.argv[2] if len(sys.argv) > 2 else "cc"
    lines = ["#include <stdio.h>", "#include <stddef.h>", '#include "%s"' % header, "int main(void) {"]
    for name, fields in structs(open(header).read()):
        lines.append('printf("%s size %%zu\\n", sizeof(%s));' % (name, name))
        for field in fields:
            lines.append('printf("%s.%s %%zu %%zu\\n", offsetof(%s, %s), sizeof(((%s *)0)->%s));' % (name, field, name, field, name, field))
    lines.append("}")
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "layout.c"), os.path.join(folder, "layout")
        open(source, "w").write("\n".join(lines))
        subprocess.run([compiler, "-o", program, source], check=True)
        sys.stdout.write(subprocess.run([program], check=True, capture_output=True, text=True).stdout)


main()
