/* The smallest WASI command: `_start` prints one line and returns. */
#include <stdio.h>

int main(void) {
    puts("hello from WebAssembly");
    return 0;
}
