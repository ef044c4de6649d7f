#include <stdio.h>
#include <stdlib.h>

#include "random_networks.h"

int main(int count, char **arguments)
{
    const uint32_t networks = count > 1 ? (uint32_t)strtoul(arguments[1], NULL, 10) : 100u;
    for (uint32_t seed = 0; seed < networks; seed++) {
        printf("%08lx\n", (unsigned long)random_network(seed, count > 2));
    }
    return 0;
}
