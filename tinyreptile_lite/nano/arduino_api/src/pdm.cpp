#include <PDM.h>
#include <board_registers.h>

PDMClass PDM;

static void (*receive)() = nullptr;

static void interrupted() {
  if (receive) receive();
}

int PDMClass::begin(int channels, int sampleRate) {
  if ((channels != 1 && channels != 2) || (sampleRate != 16000 && sampleRate != 41667)) return 0;
  REG_PDM_CHANNELS = (uint32_t)channels;
  REG_PDM_RATE = (uint32_t)sampleRate;
  REG_PDM_HANDLER = (uint32_t)interrupted;
  REG_PDM_BEGIN = (uint32_t)size_;
  return 1;
}

void PDMClass::end() { REG_PDM_END = 1; }

int PDMClass::available() { return (int)REG_PDM_AVAILABLE; }

int PDMClass::read(void *buffer, size_t size) {
  REG_PDM_ADDRESS = (uint32_t)buffer;
  REG_PDM_READ = size;
  return (int)REG_PDM_COUNT;
}

void PDMClass::onReceive(void (*function)(void)) { receive = function; }

void PDMClass::setGain(int) {}

void PDMClass::setBufferSize(int bytes) { size_ = bytes; }
