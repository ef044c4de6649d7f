/* Of Mbed OS, what the kit's sketches use. */
#pragma once

#include <Arduino.h>

#if __has_include(<chrono>)
#include <chrono>
#else /* the compiler of the ziglang wheel has no C++ library for a bare machine */
namespace std {
namespace chrono {
class microseconds {
public:
  constexpr explicit microseconds(long long count) : count_(count) {}
  constexpr long long count() const { return count_; }

private:
  long long count_;
};
class seconds : public microseconds {
public:
  constexpr explicit seconds(long long count) : microseconds(1000000 * count) {}
};
}
}
#endif

extern "C" __attribute__((noreturn)) void NVIC_SystemReset(void);

namespace mbed {
/* The virtual board has no interrupts: the function is called when the sketch polls the radio, as
 * often as it is due by then. There is one ticker. */
class LowPowerTicker {
public:
  void attach(void (*function)(), std::chrono::microseconds period);
};
}

void callTicker();
