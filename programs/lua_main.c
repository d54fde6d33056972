/*
 * Lua as a test program: an interpreter with 20,000 live tables.
 *
 * warm()            creates the interpreter and runs the script below, which
 *                   builds the tables and defines `step`.
 * run(clone, call)  calls `step(clone, call)`: it reads some two hundred
 *                   tables, replaces the contents of a few, makes garbage, and
 *                   answers with a running checksum kept in the interpreter.
 *                   The answer depends on every earlier call.
 *
 * The libraries that reach outside (io, os, package, debug) are not opened.
 * Lua seeds its string hashes from a fixed number (see lua_wasi.h), so two
 * instances that get the same calls stay equal byte for byte. Lua errors trap:
 * this libc has no setjmp.
 */
#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const char script[] =
    "local items = {}\n"
    "for i = 1, 20000 do\n"
    "  items[i] = { id = i, name = 'item ' .. i, seen = 0 }\n"
    "end\n"
    "local total = 1\n"
    "function step(clone, call)\n"
    "  local first = (clone * 613 + call * 37) % #items\n"
    "  for i = 0, #items - 1, 97 do\n"
    "    local item = items[(first + i) % #items + 1]\n"
    "    total = (total * 31 + item.id + #item.name + item.seen) % 1000000007\n"
    "  end\n"
    "  for i = 0, 7 do\n"
    "    local item = items[(first + i * 7) % #items + 1]\n"
    "    item.seen = item.seen + 1\n"
    "    item.name = 'clone ' .. clone .. ' call ' .. call .. ' of ' .. total\n"
    "  end\n"
    "  return total\n"
    "end\n";

static lua_State *lua;

/* Under this build a protected call cannot catch: Lua's panic ends here. */
static int panic(lua_State *state) {
    const char *message = lua_tostring(state, -1);
    fprintf(stderr, "lua: %s\n", message ? message : "(no message)");
    abort();
}

static void open(const char *name, lua_CFunction library) {
    luaL_requiref(lua, name, library, 1);
    lua_pop(lua, 1);
}

__attribute__((export_name("warm"))) void warm(void) {
    lua = luaL_newstate();
    if (lua == NULL) {
        abort();
    }
    lua_atpanic(lua, panic);
    open(LUA_GNAME, luaopen_base);
    open(LUA_TABLIBNAME, luaopen_table);
    open(LUA_STRLIBNAME, luaopen_string);
    if (luaL_loadstring(lua, script) != LUA_OK) {
        panic(lua);
    }
    lua_call(lua, 0, 0);
}

__attribute__((export_name("run"))) int32_t run(int32_t clone, int32_t call) {
    lua_getglobal(lua, "step");
    lua_pushinteger(lua, clone);
    lua_pushinteger(lua, call);
    lua_call(lua, 2, 1);
    lua_Integer total = lua_tointeger(lua, -1);
    lua_pop(lua, 1);
    return (int32_t)total;
}
