/*
 * Lua includes <setjmp.h>, which this C library refuses to offer. Nothing of
 * it is used: see lua_wasi.h.
 */
#pragma once
