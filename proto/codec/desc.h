/* desc.h: how generate.py describes messages to codec.c. Who only decodes and encodes needs
 * codec.h.
 *
 * A struct of the schema has one msg_desc: its C layout, its fields in all versions, its defaults.
 * What one version of it looks like on the wire is a msg_plan: the fields that are there, in order,
 * with every question about versions answered when the program was built. Versions that look alike
 * share a plan. Everything here is constant and lives as long as the program. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum msg_type {
    MSG_BOOL,    /* bool, one byte */
    MSG_INT8,    /* int8_t */
    MSG_INT16,   /* int16_t */
    MSG_UINT16,  /* uint16_t */
    MSG_INT32,   /* int32_t */
    MSG_INT64,   /* int64_t */
    MSG_FLOAT64, /* double */
    MSG_UUID,    /* struct uuid */
    MSG_STRING,  /* struct str; MSG_UUID is the last type of fixed size */
    MSG_BYTES,   /* struct bytes */
    MSG_RECORDS, /* struct bytes */
    MSG_STRUCT,  /* a struct in place, or a pointer where some version may carry null */
};

/* Versions first..last; none when last < first. */
struct msg_range {
    int16_t first;
    int16_t last;
};

/* A field in all versions. An array is a pointer to its elements, followed by an int32_t count. */
struct msg_field {
    const char *name;
    const struct msg_desc *element; /* MSG_STRUCT: what it looks like */
    struct msg_range versions;
    struct msg_range nullable;
    int16_t tag;     /* -1: in its place */
    uint16_t offset; /* in the C struct */
    uint8_t type;    /* enum msg_type: of the field, or of an array's elements */
    bool array;
    bool ignorable; /* a version that lacks it may lose its value */
};

enum msg_op_flag {
    OP_ARRAY = 1,
    OP_NULL = 2,      /* null may be on the wire in this version */
    OP_NULL_EVER = 4, /* null may be on the wire in some version */
    OP_COMPACT = 8,   /* lengths and counts are uvarints, one up */
    OP_TAGGED = 16,
};

/* A field in one version. Neighbours of fixed size form a run, whose bounds are checked once. */
struct msg_op {
    uint8_t type; /* enum msg_type */
    uint8_t flags;
    uint8_t field;     /* index in the description's fields */
    uint8_t run_ops;   /* > 0: a run of so many fields begins here */
    uint16_t run_size; /* there: the run's bytes on the wire; further on: those before this field */
    uint16_t offset;
    const struct msg_plan *plan; /* MSG_STRUCT */
};

struct msg_plan {
    const struct msg_desc *desc;
    const struct msg_op *ops; /* fields in their place, then tagged fields by ascending tag */
    const uint8_t *absent;    /* fields that this version lacks and may not lose */
    uint16_t inline_count;
    uint16_t tagged_count;
    uint16_t absent_count;
    uint16_t size_min; /* the smallest encoding, in bytes */
    /* The part of the C struct, if any, that decoding may leave alone: from the first to the last
     * field that is tagged or not there at all. It needs defaults; while it equals them there is
     * nothing to write for it. */
    uint16_t rest_offset;
    uint16_t rest_size;
    bool flexible; /* ends in a tagged section */
    bool fixed;    /* every encoding has size_min bytes */
};

struct msg_desc {
    const char *name; /* FetchRequest, or the schema's name of an inner struct */
    const struct msg_field *fields;
    const void *defaults;                /* a C struct in which every field has its default */
    const struct msg_plan *const *plans; /* by version - versions.first; NULL for inner structs */
    struct msg_range versions;
    uint16_t field_count;
    uint16_t size; /* of the C struct */
};
