#include <stdlib.h>
void setup() { abort(); }
void loop() {}
