/*
  LearnXor: a network of 3 layers learns the exclusive-or on the board, from random weights.

  It shows all that a sketch of your own needs: a network as a table, its memory as static arrays,
  and one call per learning step. Each line printed is the mean loss over the four cases.

  Circuit: none. Works on any board with a kilobyte of RAM to spare.

  Use: open the Serial Plotter and watch the loss fall. Press reset to learn anew.
*/
#include <TinyReptile.h>

static const tr_layer layers[] = {TR_DENSE(2, 8), TR_TANH, TR_DENSE(8, 2)};
static const tr_network network = {layers, 3, 2, TR_CROSS_ENTROPY};

static float weights[TR_DENSE_WEIGHTS(2, 8) + TR_DENSE_WEIGHTS(8, 2)];
static float workspace[8 + 2];  // one float per output; TR_TANH works in place
static tr_model model;

static const float inputs[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
static const int32_t labels[4] = {0, 1, 1, 0};
const float rate = 0.3f;

void setup() {
  Serial.begin(115200);
  while (!Serial && millis() < 3000) delay(1);
  const size_t count = sizeof weights / sizeof *weights;
  const size_t floats = sizeof workspace / sizeof *workspace;
  const tr_status status = tr_init(&model, &network, weights, count, workspace, floats);
  if (status != TR_OK) Serial.println(tr_status_text(status));
  for (float &weight : weights) weight = (random(2001) - 1000) / 1000.0f;
}

void loop() {
  float mean = 0.0f;
  for (int i = 0; i < 4; i++) {
    float loss;
    const tr_status status = tr_learn_label(&model, &loss, inputs[i], labels[i], rate);
    if (status != TR_OK) Serial.println(tr_status_text(status));
    else mean += loss / 4;
  }
  Serial.print("loss:");
  Serial.println(mean, 4);
  delay(20);
}
