#!/usr/bin/env python3
"""Turn proto/schema/*.msg into messages.h (structs) and messages.c (descriptions).

    generate.py SCHEMA_DIR OUT_DIR

The notation is described in proto/schema/README.md, the descriptions in desc.h. What the C compiler can
check (sizes, the bound on decoded memory) is emitted as static assertions. Any mistake in the text ends
the build with the file and line.
"""
import os
import re
import sys
from dataclasses import dataclass, field as member

# type -> (C type, enumerator, bytes on the wire or None when that varies)
TYPES = {
    "bool": ("bool", "MSG_BOOL", 1),
    "int8": ("int8_t", "MSG_INT8", 1),
    "int16": ("int16_t", "MSG_INT16", 2),
    "uint16": ("uint16_t", "MSG_UINT16", 2),
    "int32": ("int32_t", "MSG_INT32", 4),
    "int64": ("int64_t", "MSG_INT64", 8),
    "float64": ("double", "MSG_FLOAT64", 8),
    "uuid": ("struct uuid", "MSG_UUID", 16),
    "string": ("struct str", "MSG_STRING", None),
    "bytes": ("struct bytes", "MSG_BYTES", None),
    "records": ("struct bytes", "MSG_RECORDS", None),
}
C_WORDS = set("auto break case char const continue default do double else enum extern float for goto if int "
              "long register return short signed sizeof static struct switch typedef union unsigned void "
              "volatile while".split())
NO_VERSIONS = (0, -1)


class SchemaError(Exception):
    pass


def snake(name):
    """LeaderAndIsr -> leader_and_isr, KRaftVersion -> kraft_version."""
    name = name.replace("KRaft", "Kraft")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def parse_range(text, outer):
    """The versions of `outer` that a range names, as (first, last)."""
    if text == "none":
        return NO_VERSIONS
    m = re.fullmatch(r"(\d+)(\+|-(\d+))?", text)
    if not m:
        raise SchemaError(f"bad range '{text}'")
    first = int(m[1])
    last = outer[1] if m[2] == "+" else int(m[3] or m[1])
    first, last = max(first, outer[0]), min(last, outer[1])
    return (first, last) if first <= last else NO_VERSIONS


def has(versions, version):
    return versions[0] <= version <= versions[1]


def show_range(versions):
    return str(versions[0]) if versions[0] == versions[1] else f"{versions[0]}-{versions[1]}"


# ------------------------------------------------------------------ what the text says


@dataclass
class Field:
    name: str
    array: bool
    type: str
    versions: tuple
    nullable: tuple
    tag: int = -1
    never_compact: bool = False
    default: str = None
    ignorable: bool = False
    struct: "Struct" = None

    def pointer(self):
        """A struct that can be null in some version is a pointer in C."""
        return self.struct is not None and not self.array and self.nullable != NO_VERSIONS


@dataclass
class Struct:
    name: str
    versions: tuple
    fields: list = member(default_factory=list)
    c_name: str = ""


@dataclass
class Message:
    kind: str
    name: str
    key: int
    versions: tuple
    flexible: tuple
    root: Struct
    structs: dict = member(default_factory=dict)  # every inner struct by name

    def title(self):
        return self.name + {"request": "Request", "response": "Response"}.get(self.kind, "")


FIELD = re.compile(r"([a-z]\w*): (\[\])?(\w+)(\?)?((?: \S+)*)")


def parse_field(line, outer):
    m = FIELD.fullmatch(line)
    if not m:
        raise SchemaError("not a field")
    words = m[5].split()
    versions = parse_range(words.pop(0), outer) if words and words[0][0].isdigit() else outer
    out = Field(m[1], bool(m[2]), m[3], versions, versions if m[4] else NO_VERSIONS)
    for word in words:
        key, _, value = word.partition("=")
        if key == "null":
            out.nullable = parse_range(value, versions)
        elif key == "tag":
            out.tag = int(value)
        elif word == "flexible=none":
            out.never_compact = True
        elif key == "default":
            out.default = value
        elif word == "ignorable":
            out.ignorable = True
        elif key not in ("key", "entity"):
            raise SchemaError(f"unknown word '{word}'")
    if out.name in C_WORDS or out.name.endswith("_count") and out.array:
        raise SchemaError(f"'{out.name}' cannot be a name in C")
    if out.type[0].islower() and out.type not in TYPES:
        raise SchemaError(f"unknown type '{out.type}'")
    return out


def parse_head(line):
    kind, name, *words = line.split()
    pairs = dict(word.split("=", 1) for word in words)
    if kind not in ("request", "response", "header", "data", "metadata"):
        raise SchemaError(f"unknown kind '{kind}'")
    versions = parse_range(pairs["versions"], (0, 32767))
    return Message(kind, name, int(pairs.get("key", -1)), versions,
                   parse_range(pairs["flexible"], versions), Struct(name, versions))


def add_struct(message, name, versions):
    if name in message.structs:
        raise SchemaError(f"struct {name} twice")
    message.structs[name] = Struct(name, versions)
    return message.structs[name]


def parse_file(path):
    messages = []
    stack = []  # (indent, the struct that deeper lines belong to, or the field that may open one)
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        text = line.strip()
        if not text or text[0] == "#":
            continue
        try:
            indent = len(line.rstrip()) - len(text)
            if indent == 0:
                messages.append(parse_head(text))
                stack = [(0, messages[-1].root)]
                continue
            while stack and stack[-1][0] >= indent:
                stack.pop()
            if not stack or stack[-1][0] != indent - 2:
                raise SchemaError("bad indent")
            parse_line(messages[-1], text, indent, stack)
        except (SchemaError, ValueError, KeyError) as problem:
            sys.exit(f"{path}:{number}: {problem}: {text}")
    for message in messages:
        try:
            resolve(message)
        except SchemaError as problem:
            sys.exit(f"{path}: {message.name}: {problem}")
    return messages


def parse_line(message, text, indent, stack):
    parent = stack[-1][1]
    if isinstance(parent, Field):  # the first line below a field opens the field's struct
        parent = add_struct(message, parent.type, parent.versions)
        stack[-1] = (stack[-1][0], parent)
    if text.startswith("struct "):
        _, name, *versions = text.split()
        outer = message.versions
        stack.append((indent, add_struct(message, name, parse_range(versions[0], outer) if versions else outer)))
        return
    new = parse_field(text, parent.versions)
    if any(new.name == other.name for other in parent.fields):
        raise SchemaError(f"{new.name} twice")
    parent.fields.append(new)
    stack.append((indent, new))


def resolve(message):
    """Connect fields with their structs and give every struct its C name."""
    message.root.c_name = snake(message.title())
    for inner in message.structs.values():
        inner.c_name = f"{message.root.c_name}_{snake(inner.name)}"
    for struct in [message.root, *message.structs.values()]:
        for f in struct.fields:
            if f.type[0].isupper():
                if f.type not in message.structs:
                    raise SchemaError(f"no struct {f.type}")
                f.struct = message.structs[f.type]


# ------------------------------------------------------------------ messages.h


def inner_first(struct, seen):
    """The struct and those it contains, contents first, each once."""
    if struct.c_name not in seen:
        for f in struct.fields:
            if f.struct:
                yield from inner_first(f.struct, seen)
        seen.add(struct.c_name)
        yield struct


def c_member(f, outer):
    kind = f"struct {f.struct.c_name}" if f.struct else TYPES[f.type][0]
    notes = [] if f.versions == outer else [show_range(f.versions)]
    if f.nullable == f.versions:
        notes.append("nullable")
    elif f.nullable != NO_VERSIONS:
        notes.append(f"nullable in {show_range(f.nullable)}")
    if f.default is not None:
        notes.append(f"default {f.default}")
    if f.ignorable:
        notes.append("ignorable")
    note = f" /* {', '.join(notes)} */" if notes else ""
    star = "*" if f.array or f.pointer() else ""
    lines = [f"    {kind} {star}{f.name};{note}"]
    if f.array:
        lines.append(f"    int32_t {f.name}_count;")
    return lines


def header_of(message, seen):
    out = []
    for struct in inner_first(message.root, seen):
        if struct is message.root:
            out.append(f"/* {message.title()}, versions {show_range(message.versions)}. */")
        out.append(f"struct {struct.c_name} {{")
        for f in struct.fields:
            out += c_member(f, struct.versions)
        if not struct.fields:
            out.append("    char none; /* C has no struct without members */")
        out += ["};", f"extern const struct msg_desc {struct.c_name}_desc;", ""]
    return out


HEADER_TOP = """\
/* messages.h: every message of the protocol as a plain struct. Generated from proto/schema by generate.py.
 *
 * One struct serves all versions of a message; the versions that have a field stand beside it where they
 * are not all. An array is a pointer and a count, -1 for null. See codec.h for what to do with them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/uuid.h"

struct msg_desc;

/* Every message: codec_messages[0 .. codec_messages_count - 1]. */
extern const struct msg_desc *const codec_messages[];
extern const int codec_messages_count;
"""


# ------------------------------------------------------------------ messages.c


def c_int(value):
    number = int(value, 0)
    return "INT32_MIN" if number == -2**31 else str(number)


def default_value(f):
    """The C initialiser of a field's default; see proto/schema/README.md."""
    if f.array:
        return None
    if f.pointer():
        return "NULL" if f.default == "null" else f"(struct {f.struct.c_name} *)&{f.struct.c_name}_defaults"
    if f.struct:
        return defaults_of(f.struct)
    if f.type == "string":
        text = "NULL" if f.default == "null" else f'"{f.default or ""}"'
        return f"{{{text}, {len(f.default or '') if text != 'NULL' else 0}}}"
    if f.type in ("bytes", "records"):
        null = f.default == "null" or f.type == "records"
        return "{NULL, 0}" if null else '{(const uint8_t *)"", 0}'
    if f.type == "uuid":
        return "{{0}}"
    if f.type == "bool":
        return f.default or "false"
    return f.default or "0" if f.type == "float64" else c_int(f.default or "0")


def defaults_of(struct):
    parts = []
    for f in struct.fields:
        if f.array:
            parts.append(f".{f.name} = NULL, .{f.name}_count = {-1 if f.default == 'null' else 0}")
        else:
            parts.append(f".{f.name} = {default_value(f)}")
    return "{" + (", ".join(parts) or "0") + "}"


def c_range(versions):
    return f"{{{versions[0]}, {versions[1]}}}"


def fields_of(struct):
    out = []
    for f in struct.fields:
        out.append(f'    {{.name = "{f.name}", .element = {f"&{f.struct.c_name}_desc" if f.struct else "NULL"},'
                   f" .versions = {c_range(f.versions)}, .nullable = {c_range(f.nullable)}, .tag = {f.tag},"
                   f" .offset = offsetof(struct {struct.c_name}, {f.name}),"
                   f" .type = {enumerator(f)}, .array = {c_bool(f.array)}, .ignorable = {c_bool(f.ignorable)}}},")
    return out


def c_bool(value):
    return "true" if value else "false"


def enumerator(f):
    return "MSG_STRUCT" if f.struct else TYPES[f.type][1]


class Plans:
    """Emits one msg_plan for each way a struct looks, and remembers which is which."""

    def __init__(self):
        self.lines = []
        self.known = {}  # what a plan says -> its name
        self.sizes = {}  # name -> (size_min, fixed, complete)

    def op(self, struct, f, flexible, version):
        """(text without the run, fixed size or None, smallest size, complete)"""
        compact = flexible and not f.never_compact
        plan = self.plan(f.struct, flexible, version) if f.struct else "NULL"
        null = has(f.nullable, version)
        flags = [name for name, there in (
            ("OP_ARRAY", f.array), ("OP_NULL", null), ("OP_NULL_EVER", f.nullable != NO_VERSIONS),
            ("OP_COMPACT", compact), ("OP_TAGGED", f.tag >= 0)) if there]
        text = (f".type = {enumerator(f)}, .flags = {' | '.join(flags) or 0}, .field = {struct.fields.index(f)},"
                f" .offset = offsetof(struct {struct.c_name}, {f.name}),"
                f" .plan = {'NULL' if plan == 'NULL' else '&' + plan}")
        if f.struct and (f.array or f.pointer()):
            self.bound(struct, f, plan)
        complete = True
        if f.array:
            fixed, least = None, 1 if compact else 4
        elif f.pointer():
            # Nullable in some version only: elsewhere it is always there.
            fixed, least = None, 1 if null else self.sizes[plan][0]
        elif f.struct:
            fixed = None
            least, _, complete = self.sizes[plan]
        else:
            fixed = TYPES[f.type][2]
            least = fixed or (1 if compact else 2 if f.type == "string" else 4)
        return text, fixed, least, complete

    def bound(self, struct, f, plan):
        line = (f"_Static_assert(sizeof(struct {f.struct.c_name}) <= CODEC_EXPANSION_MAX *"
                f" {self.sizes[plan][0]}, \"{struct.c_name}.{f.name}\");")
        if line not in self.lines:
            self.lines.append(line)

    def plan(self, struct, flexible, version):
        present = [f for f in struct.fields if has(f.versions, version)]
        inline = [f for f in present if f.tag < 0]
        tagged = sorted((f for f in present if f.tag >= 0), key=lambda f: f.tag)
        if tagged and not flexible:
            raise SchemaError(f"{struct.name} has tags in plain version {version}")
        absent = [str(i) for i, f in enumerate(struct.fields) if f not in present and not f.ignorable]
        made = [self.op(struct, f, flexible, version) for f in inline + tagged]
        count = len(inline)
        ops = []
        for i, (text, *_) in enumerate(made):
            start = i
            while start > 0 and i < count and made[i][1] and made[start - 1][1]:
                start -= 1
            end = i
            while end < count and made[end][1]:
                end += 1
            first = start == i
            ops.append(f"{{{text}, .run_ops = {end - i if first else 0},"
                       f" .run_size = {sum(m[1] for m in made[start:end if first else i])}}}")
        size_min = sum(least for _, _, least, _ in made[:count]) + (1 if flexible else 0)
        fixed = not flexible and all(self.is_fixed(f, m, flexible, version) for f, m in zip(inline, made))
        whole = {f.name for f, m in zip(inline, made) if m[3]}
        rest = [f for f in struct.fields if f.name not in whole]
        said = (struct.c_name, flexible, tuple(ops), tuple(absent))
        if said not in self.known:
            self.known[said] = self.emit(struct, flexible, ops, count, absent, size_min, fixed, rest)
        return self.known[said]

    def is_fixed(self, f, made, flexible, version):
        if f.struct and not f.array and not f.pointer():
            return self.sizes[self.plan(f.struct, flexible, version)][1]
        return made[1] is not None

    def emit(self, struct, flexible, ops, inline_count, absent, size_min, fixed, rest):
        name = f"plan_{len(self.known)}_{struct.c_name}"
        out = self.lines
        if ops:
            out.append(f"static const struct msg_op ops_of_{name}[] = {{")
            out += [f"    {op}," for op in ops]
            out.append("};")
        if absent:
            out.append(f"static const uint8_t absent_in_{name}[] = {{{', '.join(absent)}}};")
        out += [f"static const struct msg_plan {name} = {{",
                f"    .desc = &{struct.c_name}_desc,",
                f"    .ops = {f'ops_of_{name}' if ops else 'no_ops'},",
                f"    .absent = {f'absent_in_{name}' if absent else 'NULL'},",
                f"    .inline_count = {inline_count}, .tagged_count = {len(ops) - inline_count},"
                f" .absent_count = {len(absent)},",
                f"    .size_min = {size_min}, .flexible = {c_bool(flexible)}, .fixed = {c_bool(fixed)},"]
        if rest:
            c, last = f"struct {struct.c_name}", rest[-1].name + ("_count" if rest[-1].array else "")
            out += [f"    .rest_offset = offsetof({c}, {rest[0].name}),",
                    f"    .rest_size = offsetof({c}, {last}) + sizeof((({c} *)0)->{last})"
                    f" - offsetof({c}, {rest[0].name}),"]
        out.append("};")
        self.sizes[name] = (size_min, fixed, not rest)
        return name


def source_of(message, plans, seen):
    out = []
    for struct in inner_first(message.root, seen):
        c = struct.c_name
        out.append(f"static const struct {c} {c}_defaults = {defaults_of(struct)};")
        for f in struct.fields:
            if f.array:
                out.append(f"_Static_assert(offsetof(struct {c}, {f.name}_count) == offsetof(struct {c}, {f.name})"
                           f" + sizeof(void *), \"the count follows the pointer\");")
        if struct.fields:
            out += [f"static const struct msg_field {c}_fields[] = {{", *fields_of(struct), "};"]
    plans.lines = []
    by_version = [plans.plan(message.root, has(message.flexible, v), v)
                  for v in range(message.versions[0], message.versions[1] + 1)]
    out += plans.lines
    root = message.root.c_name
    out.append(f"static const struct msg_plan *const {root}_plans[] = {{")
    out += [f"    &{name}," for name in by_version]
    out.append("};")
    for struct in inner_first(message.root, set()):
        c = struct.c_name
        name = message.title() if struct is message.root else struct.name
        out += [f"const struct msg_desc {c}_desc = {{",
                f'    .name = "{name}",',
                f"    .fields = {f'{c}_fields' if struct.fields else 'NULL'},",
                f"    .defaults = &{c}_defaults,",
                f"    .plans = {f'{root}_plans' if struct is message.root else 'NULL'},",
                f"    .versions = {c_range(struct.versions)},",
                f"    .field_count = {len(struct.fields)},",
                f"    .size = sizeof(struct {c}),",
                "};"]
    return out + [""]


def api_keys(messages):
    out = ["/* Keys of the APIs; see codec/api.h. */", "enum api_key {"]
    for m in sorted((m for m in messages if m.kind == "request"), key=lambda m: m.key):
        out.append(f"    API_{snake(m.name).upper()} = {m.key},")
    return out + ["};", ""]


def api_table(messages):
    apis = {}
    for m in messages:
        if m.kind in ("request", "response"):
            apis.setdefault(m.key, {})[m.kind] = m
    if sorted(apis) != list(range(len(apis))):
        raise SchemaError("api keys have gaps")
    out = ["const struct api_info codec_apis[] = {"]
    for key in sorted(apis):
        request, response = apis[key]["request"], apis[key]["response"]
        if (request.name, request.versions, request.flexible) != (response.name, response.versions,
                                                                  response.flexible):
            raise SchemaError(f"request and response of key {key} do not fit together")
        flexible = request.flexible[0] if request.flexible != NO_VERSIONS else "INT16_MAX"
        out.append(f'    {{{key}, "{request.name}", {request.versions[0]}, {request.versions[1]}, {flexible},'
                   f" &{request.root.c_name}_desc, &{response.root.c_name}_desc}},")
    return out + ["};", f"const int codec_apis_count = {len(apis)};"]


SOURCE_TOP = """\
/* messages.c: descriptions of every message. Generated from proto/schema by generate.py. */
#include "codec/messages.h"

#include <stddef.h>

#include "codec/api.h"
#include "codec/codec.h"
#include "codec/desc.h"

/* For plans without fields: a place to begin and end at. */
static const struct msg_op no_ops[1] = {{.type = MSG_BOOL}};
"""


def write_if_changed(path, lines):
    text = "\n".join(lines) + "\n"
    if not os.path.exists(path) or open(path, encoding="utf-8").read() != text:
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)


def main(schema_dir, out_dir):
    messages = []
    for name in sorted(os.listdir(schema_dir)):
        if name.endswith(".msg"):
            messages += parse_file(os.path.join(schema_dir, name))
    names = [s.c_name for m in messages for s in [m.root, *m.structs.values()]]
    if len(names) != len(set(names)):
        raise SchemaError("two structs have the same name in C")
    header, source, plans = [HEADER_TOP, *api_keys(messages)], [SOURCE_TOP], Plans()
    for message in messages:
        header += header_of(message, set())
        source += source_of(message, plans, set())
    source.append("const struct msg_desc *const codec_messages[] = {")
    source += [f"    &{m.root.c_name}_desc," for m in messages]
    source += ["};", f"const int codec_messages_count = {len(messages)};", "", *api_table(messages)]
    os.makedirs(out_dir, exist_ok=True)
    write_if_changed(os.path.join(out_dir, "messages.h"), header)
    write_if_changed(os.path.join(out_dir, "messages.c"), source)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2])
    except SchemaError as problem:
        sys.exit(f"generate.py: {problem}")
