/*
  FederatedClient: the board learns together with others.

  A server sends it phi, weights that all boards have in common. The board learns online from its
  own samples, one at a time, and sends its weights back. The samples never leave it.

  Circuit: Nano 33 BLE, on USB or on a battery with Bluetooth. The network in network.h decides on
  the samples: points of a sine wave of its own, or windows of the IMU (see source.h).

  Use: upload, close the Serial Monitor, and run the server, for example
    tinyreptile serve /dev/ttyACM0
  For Bluetooth set TRANSPORT_BLE to 1 in transport.h; the server then finds it as
    tinyreptile serve ble:TinyReptile-3F2A
  where the last four digits are of the board's id. While the board learns the LED is on, and pin D2
  is high: so the log of a power meter shows the visits (docs/energy.md). Another network: the first
  line of network.h names the command. The language that both sides speak is docs/wire-format.md;
  this sketch only lends it memory, a link and a source of samples.
*/
#include <tr_wire.h>

#include "network.h"
#include "source.h"
#include "transport.h"

#if __has_include(<nrf.h>)
#include <nrf.h>
#endif

static float weights[NETWORK_WEIGHTS], workspace[NETWORK_WORKSPACE];
static float x[NETWORK_INPUTS], target[NETWORK_OUTPUTS];
static uint8_t received[TR_WIRE_PAYLOAD(chunkFloats)], transmitted[TR_WIRE_FRAME(chunkFloats)];
static tr_client_about about = {{0}, NETWORK_ID, 0, chunkWindow};
static const tr_client_io io = {nullptr, transportSend, sourceBegin, sourceSample};
static const int markerPin = 2;  // for a power meter
static tr_model model;
static tr_client client;

void setup() {
  pinMode(LED_BUILTIN, OUTPUT);
  pinMode(markerPin, OUTPUT);
  readId(about.board_id);
  about.sources = sourceSetup(about.board_id);
  tr_status status =
      tr_init(&model, &network, weights, NETWORK_WEIGHTS, workspace, NETWORK_WORKSPACE);
  if (status == TR_OK) {
    status = tr_client_init(&client, &model, &about, &io, received, sizeof received, transmitted,
                            sizeof transmitted, x, target);
  }
  if (status != TR_OK || !transportBegin(about.board_id)) blinkForEver();
}

void loop() {
  for (int byte = transportRead(); byte >= 0; byte = transportRead()) {
    tr_client_byte(&client, (uint8_t)byte);
  }
  showTraining();  // before the first sample as well
  tr_client_poll(&client);
  showTraining();
}

void showTraining() {
  const bool training = client.state == TR_TRAINING;
  digitalWrite(LED_BUILTIN, training ? HIGH : LOW);
  digitalWrite(markerPin, training ? HIGH : LOW);
}

// Eight bytes that no other board has: the chip's own number.
void readId(uint8_t *id) {
#ifdef NRF_FICR
  const uint32_t number[2] = {NRF_FICR->DEVICEID[0], NRF_FICR->DEVICEID[1]};
  memcpy(id, number, 8);
#else
  for (int i = 0; i < 8; i++) id[i] = (uint8_t)random(256);
#endif
}

// Memory too small or no radio: nothing can be sent, so show it.
void blinkForEver() {
  for (bool on = true;; on = !on) {
    digitalWrite(LED_BUILTIN, on ? HIGH : LOW);
    delay(100);
  }
}
