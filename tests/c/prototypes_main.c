#include <stdio.h>

#include "prototypes.h"

int main(void)
{
    for (int way = 0; way < WAYS; way++) {
        printf("%08x\n", (unsigned)prototypes(way));
    }
    return 0;
}
