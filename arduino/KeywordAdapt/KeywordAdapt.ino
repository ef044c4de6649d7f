/*
  KeywordAdapt: the board learns words of your own, in any language, from three examples each.

  It starts from phi, weights that TinyReptile has learnt from other people's words. It listens all
  the time, and says which of your words it has heard, and how sure it is in percent. To teach a word,
  send its number and say it three times. The board then learns all words that it knows, in some
  seconds, in which it does not listen. Leave a second between two words.

  Circuit: Nano 33 BLE Sense of either revision: both have the same kind of microphone (MP34DT05 and
  MP34DT06). A button from pin 2 to ground teaches the words 1, 2, 3, 4 in turn.
  Libraries: none but those of the board's core.

  Use: open the Serial Monitor with "New Line" and send
    1 ... 4   teach this word, also anew; the LED is on until it was said three times
    0         teach none after all
    f         forget all words, in flash too
    s         say which words are known, and how much sound was lost
  What was taught outlives a reset, once ten seconds have passed without a word: see keep.h.
*/
#include <TinyReptile.h>

#include "hear.h"
#include "keep.h"
#include "phi.h"
#include "words.h"

const int button = 2;
const unsigned long patienceMillis = 3000;  // for a monitor
const float sure = 0.6f;

static_assert(PHI_INPUTS == hearRows * TR_SOUND_BANDS, "phi.h has another network");
static float weights[PHI_WEIGHTS], workspace[PHI_WORKSPACE];
static float clip[PHI_INPUTS];  // the last word
static int wanted = -1;         // word to learn, or none
static tr_model model;

void setup() {
  Serial.begin(115200);
  while (!Serial && millis() < patienceMillis) delay(1);
  pinMode(LED_BUILTIN, OUTPUT);
  pinMode(button, INPUT_PULLUP);
  tr_status status = tr_init(&model, &phi_network, weights, PHI_WEIGHTS, workspace, PHI_WORKSPACE);
  if (status == TR_OK) status = tr_reset(&model, phi);
  for (; status != TR_OK; delay(patienceMillis)) Serial.println(tr_status_text(status));
  for (; !hearBegin(); delay(patienceMillis)) Serial.println("no microphone: the library refuses");
  Serial.println("the microphone settles, for 4 s");
  if (keepBegin()) learn();
}

void loop() {
  while (Serial.available()) readCommand((char)Serial.read());
  readButton();
  checkMicrophone();
  if (wanted < 0 && keepWanted && hearNothing() && keepIfQuiet()) hear(true);
  if (!hearRow() || !hearWord()) return;
  keepChanged = millis();
  memcpy(clip, rows, sizeof clip);
  tr_sound_level(clip, PHI_INPUTS);
  if (wanted >= 0) takeExample();
  else recognise();
}

// Say when it listens, and whether sound still comes.
void checkMicrophone() {
  static unsigned long checked = 0;
  static uint32_t before = 0;
  static bool listens = false;
  if (!listens && dropped >= hearSettling) help();
  listens = dropped >= hearSettling;
  if (millis() - checked < patienceMillis) return;
  checked = millis();
  if (came == before) {
    Serial.println("no sound comes from the microphone: it starts again");
    hearAgain();
  } else if (listens && !varied) {
    Serial.println("the microphone is silent: is this a Nano 33 BLE Sense? One without Sense has none");
  }
  varied = false;
  before = came;
}

void want(int word) {
  wanted = word;
  digitalWrite(LED_BUILTIN, wanted >= 0 ? HIGH : LOW);
  if (wanted < 0) return;
  words.counts[word] = 0;
  Serial.println(String("word ") + (word + 1) + ": say it three times");
}

void takeExample() {
  const int count = wordKeep(wanted, clip);
  Serial.println(String("example ") + count + " of " + wordClips);
  if (count < wordClips) return;
  want(-1);
  learn();
  keepLater();
}

void learn() {
  float loss = 0.0f;
  hear(false);
  Serial.println("learning; it does not listen meanwhile");
  const unsigned long begin = millis();
  const tr_status status = wordsLearn(&model, &loss);
  const float seconds = (float)(millis() - begin) / 1000.0f;
  Serial.println(status == TR_OK ? String("learnt: ") + wordsKnown() + " of 4 words known, " +
                                       String(seconds, 1) + " s, loss " + String(loss, 3)
                                 : String("not learnt: ") + tr_status_text(status));
  hear(true);
}

void recognise() {
  int word;
  float probability;
  const tr_status status = wordOf(&model, &word, &probability, clip);
  const String percent = String(100.0f * probability, 0) + " %";
  if (status != TR_OK) Serial.println(tr_status_text(status));
  else if (word < 0) Serial.println("heard a word; none is known yet: 1 to 4 teaches one");
  else Serial.println(String(probability < sure ? "perhaps " : "heard ") + (word + 1) + ", " + percent);
}

void readCommand(char c) {
  static char line[3];
  static size_t length = 0;
  if (c == '\r') return;
  if (c != '\n' && length < sizeof line - 1) line[length++] = c;
  if (c != '\n' || length == 0) return;
  obey(length == 1 ? line[0] : '?');
  length = 0;
}

void obey(char command) {
  if (command >= '1' && command < '1' + wordMost) want(command - '1');
  else if (command == '0') want(-1);
  else if (command == 'f') forget();
  else if (command == 's') sayState();
  else help();
}

void forget() {
  want(-1);
  keepForget();
  tr_reset(&model, phi);
  hear(true);
}

void sayState() {
  String line = "known words:";
  for (int i = 0; i < wordMost; i++) {
    if (wordKnown(i)) line += String(" ") + (i + 1);
  }
  if (!wordsKnown()) line += " none";
  Serial.println(line + "; " + String((unsigned long)lost) + " samples lost");
}

void help() {
  Serial.println("listening: 1 to 4 teaches a word, 0 none, f forgets all, s says what is known");
}

void readButton() {
  static int next = 0;
  static bool wasDown = false;
  const bool down = digitalRead(button) == LOW;
  if (down && !wasDown && wanted < 0) want(next++ % wordMost);
  wasDown = down;
}
