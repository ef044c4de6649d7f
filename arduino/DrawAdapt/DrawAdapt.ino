/*
  DrawAdapt: the board learns characters of YOUR own, from one drawing of each or a few, and
  recognises them.

  It starts from phi, weights that TinyReptile has learnt on other characters, of other alphabets.
  A character is learnt at once, as the mean of its drawings' features. Passes over the drawings, one
  at a time, then train all layers too: compare what both say.

  Circuit: Nano 33 BLE, any revision, nothing else; the drawing comes from the computer.

  Use: draw in the notebook; or in the monitor of `tinyreptile flash` send :draw FILE.png 1, to teach
  this picture as character 1, and :draw FILE.png, to ask; or open the Serial Monitor with "New Line"
  and send
    draw          and then 28 lines of 28 signs: 0 is no ink, 1 to 9 and a to f are more and more;
                  . is no ink as well, # is all
    learn 1       this drawing is character 1; there are 5, and of each 5 drawings are kept
    what          which character is it?
    passes 8      train on the kept drawings, 8 times, one by one; the LED is on meanwhile
    forget        begin anew
  What it has learnt outlives a reset, once it has had ten seconds without a lesson: see kept.h.
*/
#include <TinyReptile.h>

#include "passes.h"

const unsigned long patienceMillis = 3000;  // for a monitor

static_assert(PHI_INPUTS == points && PHI_OUTPUTS == 5, "phi.h has another network");
static float scores[labels];

void setup() {
  Serial.begin(115200);
  while (!Serial && millis() < patienceMillis) delay(1);
  pinMode(LED_BUILTIN, OUTPUT);
  const tr_status status = passesBegin();
  for (; status != TR_OK; delay(patienceMillis)) Serial.println(tr_status_text(status));
  keepBegin();
  if (keptCount() > 0) {
    Serial.println(String("going on with ") + keptCount() + " drawings learnt before; forget forgets them");
    learnAgain();
  }
  Serial.println("ready: send draw and 28 rows, then learn 1 to learn 5, or what");
}

void loop() {
  while (Serial.available()) readLine((char)Serial.read());
  if (drawingLate()) drawingBroken();
  if (training()) trainOnce();
  else {
    keepIfQuiet();
    delay(1);
  }
}

// Learn all kept drawings from phi on; passes, if there were any, go on in loop().
void learnAgain() {
  meansForget();
  for (int label = 0; label < labels; label++) {
    for (int i = 0; i < counts[label]; i++) addToMean(label, kept[label][i]);
  }
  startPasses();
}

bool addToMean(int label, const uint8_t *ink) {
  drawingPoints(x, ink);
  const tr_status status = meansAdd(label, x);
  if (status != TR_OK) Serial.println(String("not learnt: ") + tr_status_text(status));
  return status == TR_OK;
}

void learn(int label) {
  if (!hasDrawing) return sayNoDrawing();
  const bool again = keptAdd(label, drawn);
  stopPasses(*passes ? "another drawing has come" : nullptr);
  if (again) learnAgain();
  else if (!addToMean(label, drawn)) return;
  keepLater();
  Serial.println(String("learnt ") + (label + 1) + " from " + counts[label] +
                 (counts[label] == 1 ? " drawing" : " drawings"));
}

void recognise() {
  if (!hasDrawing) return sayNoDrawing();
  if (keptCount() == 0) return Serial.println("nothing was taught yet: send learn 1 to learn 5"), void();
  drawingPoints(x, drawn);
  sayScores("class means", meansScores(scores, x));
  if (*passes) sayScores(String("after ") + pass + (pass == 1 ? " pass" : " passes"),
                         tr_forward(&model, scores, x));
}

void sayNoDrawing() { Serial.println("no drawing yet: send draw and its 28 rows"); }

// The best label, and the probabilities of those that were taught, in percent.
void sayScores(const String &how, tr_status status) {
  if (status != TR_OK) return Serial.println(how + ": " + tr_status_text(status)), void();
  int best = 0;
  float sum = 0.0f;
  for (int label = 1; label < labels; label++) best = scores[label] > scores[best] ? label : best;
  for (int label = 0; label < labels; label++) sum += tr_expf(scores[label] - scores[best]);
  String line = how + ": " + (best + 1) + ", in percent";
  for (int label = 0; label < labels; label++) {
    if (counts[label] == 0) continue;
    const float share = tr_expf(scores[label] - scores[best]) / sum;
    line += String(" ") + (label + 1) + ":" + String(100.0f * share, 1);
  }
  Serial.println(line);
}

void readLine(char c) {
  static char line[side + 4];
  static size_t length = 0;  // of the line as it came, of which the beginning is kept
  if (c == '\r') return;
  if (c != '\n') {
    if (length < sizeof line - 1) line[length] = c;
    length += length < 9999;
    return;
  }
  line[min(length, sizeof line - 1)] = 0;
  if (length > 0 || drawingComes()) obey(line, length);
  length = 0;
}

// A command, or a row of a drawing; anything else gets one line of help.
void obey(const char *line, size_t length) {
  const int number = numberIn(line);
  const bool learns = !strncmp(line, "learn ", 6) && number >= 1 && number <= labels;
  const bool trains = !strncmp(line, "passes ", 7) && number >= 1 && number <= mostPasses;
  const bool asks = !strcmp(line, "what") || !strcmp(line, "?");
  const bool draws = !strcmp(line, "draw"), forgets = !strcmp(line, "forget");
  const bool known = learns || trains || asks || draws || forgets;
  if (drawingComes() && !known) return drawingRow(line, length);
  if (drawingComes()) drawingBroken();
  if (learns) learn(number - 1);
  else if (trains) train(number);
  else if (asks) recognise();
  else if (draws) drawingBegin();
  else if (forgets) forget();
  else help();
}

// The number of one to three digits that ends a line after a space, or -1.
int numberIn(const char *line) {
  const char *const space = strchr(line, ' ');
  const size_t digits = space ? strspn(space + 1, "0123456789") : 0;
  return digits > 0 && digits <= 3 && space[1 + digits] == 0 ? atoi(space + 1) : -1;
}

void train(int count) {
  if (taughtLabels() < 2) return Serial.println("teach two characters first: learn 1, learn 2"), void();
  *passes = count;
  startPasses();
}

void forget() {
  stopPasses(nullptr);
  meansForget();
  keptForget();
}

void help() {
  Serial.println("unknown command: draw and 28 rows give a drawing, learn 1 to learn 5 teach it, what or ? "
                 "asks, passes 1 to passes 100 train all layers, forget begins anew");
}
