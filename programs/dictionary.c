/*
 * Look-ups in a sorted table that is not the program's own: it stands in its
 * memory from 16 MiB on, where `memfold run --map FILE@16MiB` puts it. The file
 * is made by `cargo xtask demo --files`: its first entry says how many follow,
 * and each has a key and a value, in the order of the keys. Keys and values
 * follow from their numbers, so each look-up knows what is right.
 */
typedef unsigned int u32;
typedef unsigned long long u64;

#define EXPORT(name) __attribute__((export_name(name)))
#define TABLE ((const volatile struct entry *)(16u << 20))
#define LOOKUPS 40u

struct entry {
    u64 key;
    u64 value;
};

static u64 mix(u64 x) {
    x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15ull;
    return x ^ (x >> 29);
}

/* No key is odd. */
static u64 key_of(u64 number) { return number << 12 | (mix(number) & 0xffe); }

/* The value of a key, 0 when there is none. */
static u64 find(u64 key) {
    u64 low = 1, high = TABLE[0].key + 1;
    while (low < high) {
        u64 middle = (low + high) / 2;
        u64 found = TABLE[middle].key;
        if (found == key) {
            return TABLE[middle].value;
        }
        if (found < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return 0;
}

/* Looks up words that differ from clone to clone and call to call; half of them
 * are those that everybody asks for. */
EXPORT("lookup") u64 lookup(u32 clone, u32 call) {
    u64 count = TABLE[0].key, sum = 0;
    for (u32 n = 0; n < LOOKUPS; n++) {
        u64 draw = mix(((u64)clone << 40) + ((u64)call << 20) + n);
        u64 number = n % 2 ? draw % 1000 * (count / 1000) : draw % count;
        u64 value = find(key_of(number + 1));
        if (value != mix(number + 1)) {
            __builtin_trap();
        }
        if (find(key_of(number + 1) | 1) != 0) {
            __builtin_trap();
        }
        sum = sum * 31 + value;
    }
    return sum;
}
