/*
 * A program without a C library, for tests that must know exactly which pages
 * are touched, and for bad behaviour on demand.
 *
 * All addresses are offsets into the memory; `touch`, `sum`, `copy` and `fill`
 * check nothing, so a range outside the memory traps, as it should. 64 MiB of
 * memory, of which the program itself uses only the first 128 KiB; the rest
 * belongs to the callers (`arena` says where it begins and `arena_len` how
 * long it is).
 */
typedef unsigned int u32;
typedef unsigned char u8;

#define EXPORT(name) __attribute__((export_name(name)))
#define PAGE 4096u
#define ARENA (1u << 20)
#define MEMORY (64u << 20)
#define WARM_PAGES 256u

static u32 calls;           /* how often `run` was called */
static u32 checksum;        /* of everything `run` saw */
static u32 trap_clone;      /* `run` of this clone traps ... */
static u32 trap_armed;      /* ... when this is not 0 */

EXPORT("arena") u32 arena(void) { return ARENA; }
EXPORT("arena_len") u32 arena_len(void) { return MEMORY - ARENA; }

/* Writes one word into each page of the range. */
EXPORT("touch") void touch(u32 at, u32 len, u32 value) {
    for (u32 offset = 0; offset < len; offset += PAGE) {
        *(volatile u32 *)(at + offset) = offset ^ value;
    }
}

/* Reads the first word of each page of the range. */
EXPORT("sum") u32 sum(u32 at, u32 len) {
    u32 total = 0;
    for (u32 offset = 0; offset < len; offset += PAGE) {
        total = total * 31u + *(volatile u32 *)(at + offset);
    }
    return total;
}

/* memory.copy: the host's code does the copying, not the program's. */
EXPORT("copy") void copy(u32 to, u32 from, u32 len) {
    __builtin_memmove((void *)to, (const void *)from, len);
}

/* memory.fill: likewise. */
EXPORT("fill") void fill(u32 at, u32 value, u32 len) {
    __builtin_memset((void *)at, (int)value, len);
}

EXPORT("read") u32 read(u32 at) { return *(volatile u32 *)at; }
EXPORT("write") void write(u32 at, u32 value) { *(volatile u32 *)at = value; }

/* Grows the memory; the old size in Wasm pages, or -1. */
EXPORT("grow") u32 grow(u32 wasm_pages) { return (u32)__builtin_wasm_memory_grow(0, wasm_pages); }

/* From now on `run` of this clone traps. */
EXPORT("trap_at") void trap_at(u32 clone) {
    trap_clone = clone;
    trap_armed = 1;
}

/* Traps at once. */
EXPORT("trap") void trap(void) { __builtin_trap(); }

/* Reads beyond the memory: a trap of another kind. */
EXPORT("out_of_bounds") u32 out_of_bounds(void) { return *(volatile u32 *)0xfffffff0u; }

/* Never returns; touches one page for ever. */
EXPORT("spin") void spin(void) {
    for (;;) {
        *(volatile u32 *)ARENA += 1;
    }
}

/* Calls itself until the stack ends. */
EXPORT("recurse") u32 recurse(u32 depth) {
    volatile u32 here = depth;
    if (depth == 0xffffffffu) {
        return 0;
    }
    return recurse(depth + 1) + here;
}

/* 256 pages of the arena, each different. */
EXPORT("warm") void warm(void) {
    touch(ARENA, WARM_PAGES * PAGE, 0x5eed);
    checksum = sum(ARENA, WARM_PAGES * PAGE);
}

/* Reads eight of the warm pages, changes one, and adds one that was new. */
EXPORT("run") u32 run(u32 clone, u32 call) {
    if (trap_armed && clone == trap_clone) {
        __builtin_trap();
    }
    u32 first = clone * 61u + call * 37u;
    for (u32 i = 0; i < 8; i++) {
        u32 page = (first + i * 29u) % WARM_PAGES;
        checksum = checksum * 31u + *(volatile u32 *)(ARENA + page * PAGE);
    }
    *(volatile u32 *)(ARENA + first % WARM_PAGES * PAGE) = checksum;
    *(volatile u32 *)(ARENA + (WARM_PAGES + calls % 1024u) * PAGE) = checksum ^ clone;
    calls += 1;
    return checksum ^ calls;
}
