/*
 * SQLite as a test program: an in-memory database that stays open between calls.
 *
 * warm()            opens the database, fills 5,000 rows and an index, and
 *                   prepares the statements that run() uses.
 * run(clone, call)  reads a range through the index, changes the rows of one
 *                   key, appends a row, and answers with a checksum over the
 *                   whole table. The answer therefore depends on both
 *                   arguments and on every earlier call of this instance.
 *
 * No clock, no random source and no file is used, so two instances that get
 * the same calls give the same answers. A failure traps.
 */
#include "sqlite3.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS 5000
#define KEYS 10007 /* prime, so that the keys of the rows are all different */

static sqlite3 *db;
static sqlite3_stmt *read_range;
static sqlite3_stmt *change_key;
static sqlite3_stmt *append_row;
static sqlite3_stmt *checksum;

static void check(int code, int wanted, const char *step) {
    if (code != wanted) {
        fprintf(stderr, "sqlite: %s: %s\n", step, sqlite3_errmsg(db));
        abort();
    }
}

static void execute(const char *sql) {
    check(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, sql);
}

static sqlite3_stmt *prepare(const char *sql) {
    sqlite3_stmt *statement = NULL;
    check(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK, sql);
    return statement;
}

/* Runs a statement that gives one row with one number, or no row: then 0. */
static int64_t step_once(sqlite3_stmt *statement) {
    int64_t value = 0;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        value = sqlite3_column_int64(statement, 0);
        code = sqlite3_step(statement);
    }
    check(code, SQLITE_DONE, "step");
    check(sqlite3_reset(statement), SQLITE_OK, "reset");
    return value;
}

__attribute__((export_name("warm"))) void warm(void) {
    check(sqlite3_open(":memory:", &db), SQLITE_OK, "open");
    execute("create table item(id integer primary key, key integer, note text);"
            "create index item_key on item(key);");

    sqlite3_stmt *fill = prepare("insert into item(id, key, note) values (?1, ?2, ?3)");
    execute("begin");
    for (int id = 1; id <= ROWS; id++) {
        char note[64];
        snprintf(note, sizeof note, "item %d has the square %d", id, id * id);
        sqlite3_bind_int(fill, 1, id);
        sqlite3_bind_int(fill, 2, (int)((int64_t)id * 7919 % KEYS));
        sqlite3_bind_text(fill, 3, note, -1, SQLITE_TRANSIENT);
        step_once(fill);
    }
    execute("commit");
    sqlite3_finalize(fill);

    read_range = prepare("select sum(length(note) * id) from item where key between ?1 and ?1 + 50");
    change_key = prepare("update item set note = substr(note || '+' || ?2, -200) where key = ?1");
    append_row = prepare("insert into item(key, note) values (?1, ?2)");
    checksum = prepare("select sum(length(note) * (id % 1009)) + count(*) from item");
}

__attribute__((export_name("run"))) int32_t run(int32_t clone, int32_t call) {
    /* Every clone works on keys of its own choice, and on a few shared ones. */
    int key = (int)(((uint32_t)clone * 613u + (uint32_t)call * 37u) % KEYS);

    sqlite3_bind_int(read_range, 1, key);
    int64_t sum = step_once(read_range);

    for (int near = key; near < key + 4; near++) {
        sqlite3_bind_int(change_key, 1, near % KEYS);
        sqlite3_bind_int(change_key, 2, clone);
        step_once(change_key);
    }

    char note[64];
    snprintf(note, sizeof note, "clone %d, call %d, saw %lld", (int)clone, (int)call, (long long)sum);
    sqlite3_bind_int(append_row, 1, key);
    sqlite3_bind_text(append_row, 2, note, -1, SQLITE_TRANSIENT);
    step_once(append_row);

    uint64_t all = (uint64_t)sum * 31u + (uint64_t)step_once(checksum);
    return (int32_t)(all ^ (all >> 32));
}
