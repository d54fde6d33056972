/*
 * Included before every file of Lua: what Lua expects of a C library and
 * WASI does not have. There is no setjmp, so an error in Lua ends the program
 * with a trap, and `pcall` cannot catch it.
 */
#pragma once

#include <stdlib.h>

#define LUAI_THROW(state, jump) abort()
#define LUAI_TRY(state, jump, body) { body }
#define luai_jmpbuf int

#define l_signalT int

/* Lua would mix the time and addresses into it; the same seed every time. */
#define luai_makeseed(state) 0x6d656d66u
