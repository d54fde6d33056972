/*
 * QuickJS as a test program: a JavaScript engine with 10,000 live objects and
 * a Map over them.
 *
 * warm()            creates the engine and runs the script below, which builds
 *                   the objects and defines `step`.
 * run(clone, call)  calls `step(clone, call)`: it reads some hundred objects,
 *                   changes a few and their entries in the Map, and answers
 *                   with a running checksum kept in the engine. The answer
 *                   depends on every earlier call.
 *
 * The script uses neither Date nor Math.random. A JavaScript exception traps.
 */
#include "quickjs.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char script[] =
    "const items = [];\n"
    "for (let i = 0; i < 10000; i++)\n"
    "  items.push({ id: i, name: 'item ' + i, tags: [i, i * 2] });\n"
    "const byName = new Map(items.map((item) => [item.name, item]));\n"
    "let total = 1;\n"
    "globalThis.step = function (clone, call) {\n"
    "  const first = (clone * 613 + call * 37) % items.length;\n"
    "  for (let i = 0; i < items.length; i += 97) {\n"
    "    const item = items[(first + i) % items.length];\n"
    "    const found = byName.get(item.name);\n"
    "    total = (total * 31 + found.id + item.name.length + item.tags[1]) % 1000000007;\n"
    "  }\n"
    "  for (let i = 0; i < 5; i++) {\n"
    "    const item = items[(first + i * 7) % items.length];\n"
    "    byName.delete(item.name);\n"
    "    item.name = 'clone ' + clone + ' call ' + call + ' of ' + total + '/' + i;\n"
    "    item.tags = [item.tags[0], (item.tags[1] + total) % 65537];\n"
    "    byName.set(item.name, item);\n"
    "  }\n"
    "  return total;\n"
    "};\n";

static JSRuntime *runtime;
static JSContext *context;
static JSValue step;

/* Prints the pending exception and traps. */
static void fail(void) {
    JSValue exception = JS_GetException(context);
    const char *message = JS_ToCString(context, exception);
    fprintf(stderr, "quickjs: %s\n", message ? message : "(no message)");
    abort();
}

__attribute__((export_name("warm"))) void warm(void) {
    runtime = JS_NewRuntime();
    if (runtime == NULL) {
        abort();
    }
    /* The engine cannot see where the stack of a Wasm program ends. */
    JS_SetMaxStackSize(runtime, 0);
    context = JS_NewContext(runtime);
    if (context == NULL) {
        abort();
    }

    JSValue done = JS_Eval(context, script, strlen(script), "warm.js", JS_EVAL_TYPE_GLOBAL);
    if (JS_IsException(done)) {
        fail();
    }
    JS_FreeValue(context, done);

    JSValue global = JS_GetGlobalObject(context);
    step = JS_GetPropertyStr(context, global, "step");
    JS_FreeValue(context, global);
}

__attribute__((export_name("run"))) int32_t run(int32_t clone, int32_t call) {
    JSValue arguments[] = {JS_NewInt32(context, clone), JS_NewInt32(context, call)};
    JSValue answer = JS_Call(context, step, JS_UNDEFINED, 2, arguments);
    int32_t total = 0;
    if (JS_IsException(answer) || JS_ToInt32(context, &total, answer) != 0) {
        fail();
    }
    JS_FreeValue(context, answer);
    return total;
}
