"""The virtual Nano 33 BLE: building, running, faults, devices, reports."""

import re
import sys
from collections import Counter

import numpy as np
import pytest
from compilers import BOARD
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano import BoardFault, BuildError, VirtualNano, build, compilers, firmware
from tinyreptile_lite.nano.counter import NativeCounter, instructions_in
from tinyreptile_lite.nano.cycles import model
from tinyreptile_lite.nano.image import Image, readable

ECHO = """
int turns = 0;
void setup() { Serial.begin(115200); Serial.println("ready"); }
void loop() {
  while (Serial.available()) { Serial.write(Serial.read()); turns++; }
}
"""


@pytest.fixture
def write(tmp_path):
    """Write a sketch and return its folder."""

    def write(text, name="Test"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.ino").write_text(text)
        return folder

    return write


def once(body, before=""):
    """A sketch that does something once."""
    return f"{before}\nvoid setup() {{\n{body}\n}}\nvoid loop() {{\n}}\n"


# ---- Building ------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", BOARD)
def test_both_compilers_build_the_same_sketch(write, compiler):
    board = VirtualNano(write(ECHO), compiler=compiler)
    board.run_until("ready")
    board.serial.write_line("hello")
    board.run_until("hello\n")
    board.run(1)
    assert board.serial.text == "ready\r\nhello\n"
    assert board.read_variable("turns", np.int32) == [6]


@pytest.mark.parametrize("compiler", BOARD)
def test_a_mistake_is_shown_with_the_sketchs_own_line(write, compiler):
    text = (
        "// one\nvoid setup() {\n  helper();\n}\nvoid loop() {}\nvoid helper() {\n  wrong = 1;\n}\n"
    )
    with pytest.raises(BuildError, match=r"Test\.ino:7:3: error: .*wrong") as caught:
        build(write(text), compiler=compiler)
    assert "wrong = 1;" in caught.value.output


def test_a_missing_function_is_named_with_its_line(write):
    with pytest.raises(BuildError, match=r"missing\(int\) is used but not defined \(Test.ino:3\)"):
        build(write(once("missing(1);", "void missing(int);").replace("\n", "\n", 1)))


@pytest.mark.parametrize("compiler", BOARD)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("void setup() {}\n", "has no function loop; a sketch needs setup and loop"),
        ("void loop() {}\n", "has no function setup"),
        (
            "#include <Servo.h>\nvoid setup() {}\nvoid loop() {}\n",
            "Servo.h.* into a folder libraries",
        ),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(write, compiler, text, message):
    with pytest.raises(BuildError, match=message):
        build(write(text), compiler=compiler)


def test_warnings_are_kept(write):
    assert "Test.ino:3" in build(write(once("int unused_thing;"))).warnings


def test_a_second_build_comes_from_the_cache(write, monkeypatch):
    folder = write(ECHO)
    first = build(folder)
    monkeypatch.setattr(firmware, "run", None)
    assert build(folder).path == first.path


def test_the_cache_can_be_moved(write, monkeypatch, tmp_path):
    monkeypatch.setenv("TINYREPTILE_CACHE", str(tmp_path / "cache"))
    assert (tmp_path / "cache") in build(write(once("")), compiler="zig").path.parents


def test_too_much_ram_says_by_how_much_and_what_fits(write):
    text = once("weights[millis()] = 1;", "float weights[60000];")
    with pytest.raises(BuildError, match=r"of RAM.* too many.*weights with 240,000") as caught:
        build(write(text))
    fits = re.search(r"at most [\d,]+ bytes \(([\d,]+) floats\) would fit", str(caught.value))
    most = int(fits[1].replace(",", ""))
    build(write(text.replace("60000", str(most - 1))))
    with pytest.raises(BuildError):
        build(write(text.replace("60000", str(most + 2))))


def test_too_much_of_everything_blames_no_single_array(write):
    text = once("a[millis()] = b[millis()] = 1;", "float a[70000], b[70000];")
    with pytest.raises(BuildError, match=r"too many.*, but the rest does not fit without it"):
        build(write(text))


def test_too_much_flash_says_by_how_much(write):
    text = "extern const float phi[];\nconst float phi[260000] = {1, 2};\nvolatile float x;\n"
    with pytest.raises(BuildError, match=r"of flash.* too many.*phi with 1,040,000 bytes"):
        build(write(once("x = phi[millis()];", text)))


def test_a_missing_compiler_names_the_install_line(monkeypatch):
    monkeypatch.setattr(compilers, "_find_gcc", lambda: None)
    monkeypatch.setattr(compilers, "_find_zig", lambda: None)
    compilers.find_compiler.cache_clear()
    with pytest.raises(BuildError, match="pip install ziglang"):
        compilers.find_compiler()
    compilers.find_compiler.cache_clear()
    with pytest.raises(BuildError, match="choose gcc or zig"):
        compilers.find_compiler("msvc")


def test_memory_is_reported_by_section(write):
    before = "int start[100] = {1};\nint zero[200];\nextern const int table[];\n"
    before += "const int table[300] = {1};\nvolatile int x;"
    body = "x = start[x] + zero[x] + table[x]; zero[x] = start[x] = 2;"
    memory = build(write(once(body, before))).memory
    assert memory.data >= 400
    assert memory.bss >= 800
    assert memory.rodata >= 1200
    assert memory.flash == memory.text + memory.rodata + memory.data
    assert memory.ram == memory.data + memory.bss + 32_768


def test_only_arm_programs_are_read(tmp_path):
    (tmp_path / "x.elf").write_bytes(b"\x7fELF\x02\x01" + bytes(60))
    with pytest.raises(KitError, match="not a program"):
        Image(tmp_path / "x.elf")


@pytest.fixture(scope="module")
def blink(tmp_path_factory):
    """The bytes of a small program."""
    folder = tmp_path_factory.mktemp("blink") / "Blink"
    folder.mkdir()
    (folder / "Blink.ino").write_text("void setup() {}\nvoid loop() {}\n")
    return build(folder).path.read_bytes()


@given(data=st.data())
def test_a_damaged_program_is_one_sentence_or_still_a_program(blink, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.elf"
    damaged = bytearray(blink)
    headers = [range(52), range(int.from_bytes(blink[32:36], "little"), len(blink))]
    for place in data.draw(st.lists(st.sampled_from([i for r in headers for i in r]), max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.sampled_from([len(blink), len(blink) - 1, 100, 0]))])
    try:
        image = Image(path)
    except KitError as error:
        assert re.fullmatch(r".* it is damaged; build it again", str(error))
    else:
        assert image.function_at(0x10001) != ""


def test_a_program_that_leaves_the_memory_is_not_loaded(write):
    firmware = build(write(ECHO))
    firmware.elf.segments[0] = (0xFFF00, bytes(512))
    with pytest.raises(KitError, match="512 bytes at 0x000FFF00 are neither flash nor RAM"):
        VirtualNano(firmware)


def test_a_missing_package_names_the_install_line(write, monkeypatch):
    folder = write(ECHO)
    packages = {"elftools.elf.elffile": "pyelftools", "unicorn": "unicorn", "capstone": "capstone"}
    for module, package in packages.items():
        with monkeypatch.context() as patch, pytest.raises(KitError) as caught:
            patch.setitem(sys.modules, module, None)
            VirtualNano(folder)
        assert str(caught.value).endswith(f"install it with: pip install {package}")


def test_names_are_readable():
    assert readable("_Z4loopv") == "loop"
    assert readable("_ZN5Print5printEdi") == "Print::print"
    assert readable("_ZL7weights") == "weights"
    assert readable("tr_init") == "tr_init"


# ---- Faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message", "address"),
    [
        ("poke(0x20040000);", r"0x20040000, past the end of the RAM.*poke\(\)", 0x20040000),
        ("poke(0x100);", r"wrote to flash at 0x00000100 in poke\(\)", 0x100),
        ("peek(0x100000);", r"0x00100000, which is neither flash nor RAM", 0x100000),
        ("((void (*)())0x30000001)();", "jumped to 0x30000000, where there is no code", 0x30000000),
        ("deep(1);", r"the stack needs more than its 32,768 bytes.*in deep\(\)", None),
        ("__builtin_trap();", r"no instruction at .* in setup\(\)", None),
    ],
)
def test_leaving_the_chip_is_a_fault_with_address_and_function(write, body, message, address):
    before = """
    __attribute__((noinline)) void poke(uint32_t at) { *(volatile int *)at = 1; }
    __attribute__((noinline)) int peek(uint32_t at) { return *(volatile int *)at; }
    __attribute__((noinline)) int deep(int n) {
      volatile char big[4000];
      big[0] = n;
      return deep(n + 1) + big[0];
    }
    """
    board = VirtualNano(write(once(body, before)))
    with pytest.raises(BoardFault, match=message) as caught:
        board.run(100)
    if address is not None:
        assert caught.value.address == address


def test_a_pin_that_is_not_there_is_named(write):
    with pytest.raises(KitError, match="uses pin 77"):
        VirtualNano(write(once("digitalWrite(77, HIGH);"))).run(1)


# ---- Time, serial port, pins ---------------------------------------------------------------------


def test_delay_takes_virtual_time_and_no_instructions(write):
    board = VirtualNano(write(once('delay(3600000); Serial.println("later");')))
    board.run_until("later", limit_ms=4_000_000)
    assert 3_600_000 <= board.time_ms < 3_600_001
    assert board.instructions < 20_000


def test_waiting_by_polling_keeps_time(write):
    body = "unsigned long t = micros(); while (micros() - t < 50000) {}\n"
    board = VirtualNano(write(once(body + "Serial.println(micros() - t);")))
    board.run_until("\n")
    assert 50_000 <= int(board.serial.text) < 50_500


def test_run_stops_at_the_given_time(write):
    board = VirtualNano(write("void setup() {}\nvoid loop() { delay(7); }\n"))
    board.run(100)
    assert board.time_ms == 100
    board.run(2.5)
    assert board.time_ms == 102.5
    with pytest.raises(KitError, match="cannot run for -1"):
        board.run(-1)


def test_what_does_not_come_is_reported_with_the_last_line(write):
    board = VirtualNano(write(ECHO))
    with pytest.raises(KitError, match=r"'never' did not come within 50 .* last line was: ready"):
        board.run_until("never", limit_ms=50)


def test_numbers_are_printed_as_arduino_does(write):
    body = """
    Serial.println(3.14159, 4); Serial.println(-2.5f); Serial.println(1e10); Serial.println(NAN);
    Serial.println(-7); Serial.println(255, HEX); Serial.println(5, BIN); Serial.println(2.0, 0);
    Serial.println(18446744073709551615ULL); Serial.println('c'); Serial.println(F("flash"));
    Serial.println(1.999, 2); Serial.println((unsigned char)65); Serial.println(INFINITY);
    """
    wanted = "3.1416 -2.50 ovf nan -7 FF 101 2 18446744073709551615 c flash 2.00 65 inf"
    for compiler in BOARD:
        board = VirtualNano(write(once(body)), compiler=compiler)
        board.run(100)
        assert board.serial.text.split() == wanted.split()


def test_streams_and_strings(write):
    text = """
    void setup() { Serial.setTimeout(20); }
    void loop() {
      if (!Serial.available()) return;
      const long n = Serial.parseInt();
      const float x = Serial.parseFloat();
      Serial.find("go");
      String rest = Serial.readStringUntil('\\n');
      rest.trim();
      rest.toUpperCase();
      Serial.println(String(n * 2) + "/" + x + "/" + rest.substring(1) + "/" + rest.indexOf("C"));
      Serial.println(String("12.5").toFloat() + String("-3").toInt());
    }
    """
    for compiler in BOARD:
        board = VirtualNano(write(text), compiler=compiler)
        board.serial.write("x21 1.5 gggo  abc \n")
        board.run(200)
        assert board.serial.read_lines() == ["42/1.50/BC/2", "9.50"]


def test_long_input_arrives_whole(write):
    board = VirtualNano(write(ECHO))
    board.run_until("ready\r\n")
    board.serial.read()
    data = bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8))
    board.serial.write(data)
    board.run_until(lambda b: b.serial.waiting == 0 and len(b.serial.sent) == 5007)
    assert board.serial.read(10) + board.serial.read() == data


def test_the_sketch_sees_whether_a_monitor_is_open(write):
    text = once('while (!Serial && millis() < 200) {}\nSerial.println(Serial ? "open" : "shut");')
    board = VirtualNano(write(text))
    board.serial.connected = False
    board.run_until("shut")
    assert 200 <= board.time_ms < 201
    board.serial.connected = True
    board.reset()
    board.run_until("open")
    assert board.time_ms < 1


def test_pins_and_leds(write):
    text = """
    void setup() {
      pinMode(LED_BUILTIN, OUTPUT);
      pinMode(LEDR, OUTPUT);
      digitalWrite(LEDR, HIGH);
      pinMode(2, INPUT_PULLUP);
      Serial.println(analogRead(A1));
    }
    void loop() { digitalWrite(LED_BUILTIN, !digitalRead(2)); delay(1); }
    """
    board = VirtualNano(write(text))
    board.pins.set_analog(15, 700)
    board.run(5)
    assert board.leds == {"builtin": False, "red": False, "green": False, "blue": False}
    board.pins.press(2)
    board.run(5)
    assert board.leds["builtin"]
    board.pins.release(2)
    board.run(5)
    assert not board.leds["builtin"]
    assert board.serial.read_lines() == ["700"]


# ---- IMU -----------------------------------------------------------------------------------------

IMU = """
#include <LIBRARY>
void setup() { Serial.println(IMU.begin()); Serial.println(IMU.accelerationSampleRate()); }
void loop() {
  float a[3], g[3];
  if (!IMU.accelerationAvailable() || !IMU.gyroscopeAvailable()) return;
  const int ok = IMU.readAcceleration(a[0], a[1], a[2]) + IMU.readGyroscope(g[0], g[1], g[2]);
  for (float x : a) { Serial.print(x, 3); Serial.print(' '); }
  for (float x : g) { Serial.print(x, 1); Serial.print(' '); }
  Serial.println(ok);
}
"""
LSM9DS1 = IMU.replace("LIBRARY", "Arduino_LSM9DS1.h")


def test_the_imu_plays_a_recording_once_per_sample(write):
    recording = np.arange(60, dtype=np.float32).reshape(10, 6) / 8
    board = VirtualNano(write(LSM9DS1), imu=recording, imu_rate=50, imu_loop=False)
    board.run(1000)
    begin, rate, *lines = board.serial.read_lines()
    assert (begin, rate) == ("1", "50.00")
    rows = np.array([line.split() for line in lines], dtype=float)
    np.testing.assert_allclose(rows[:, :6], recording, atol=0.051)
    np.testing.assert_array_equal(rows[:, 6], 2)


def test_a_failed_reading_is_nan_and_zero(write):
    recording = np.ones((4, 6))
    recording[2, 1] = np.nan
    board = VirtualNano(write(LSM9DS1), imu=recording, imu_loop=False)
    board.run(500)
    assert [line.split()[-1] for line in board.serial.read_lines()[2:]] == ["2", "2", "1", "2"]
    assert "nan" in board.serial.text


def test_begin_fails_if_the_other_chip_is_fitted(write):
    second = IMU.replace("LIBRARY", "Arduino_BMI270_BMM150.h")
    for text, chip, answer in (
        (LSM9DS1, "BMI270", "0"),
        (second, "BMI270", "1"),
        (second, "LSM9DS1", "0"),
        (LSM9DS1, None, "0"),
    ):
        board = VirtualNano(write(text), imu_chip=chip)
        board.run_until("\n")
        assert board.serial.read_lines() == [answer]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"imu": np.ones((5, 3))}, r"shape \(time, 6\), not \(5, 3\)"),
        ({"imu": np.ones((5, 6)), "imu_rate": 0}, "rate is 0 Hz"),
        ({"imu_chip": "MPU6050"}, "unknown IMU 'MPU6050'"),
    ],
)
def test_a_recording_that_cannot_be_played_is_refused(write, options, message):
    with pytest.raises(KitError, match=message):
        VirtualNano(write(LSM9DS1), **options)


# ---- Counting ------------------------------------------------------------------------------------

COUNTED = """
volatile float total;
float values[64];
__attribute__((noinline)) int fibonacci(int n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
__attribute__((noinline)) void add(int n) {
  float sum = 0;
  for (int i = 0; i < n; i++) sum += values[i];
  total = sum;
}
void setup() { for (int i = 0; i < 4; i++) { add(8 * i); Serial.println(fibonacci(5)); } }
void loop() { delay(1); }
"""


def counted(folder, native):
    board = VirtualNano(folder, native=native)
    board.profile()
    board.run(20)
    return board, (board.instructions, board._counter.cycles, board.time_us, board.blocks())


def test_counts_are_exact_and_repeatable_in_c_and_in_python(write):
    folder = write(COUNTED)
    board, first = counted(folder, native=True)
    assert isinstance(board._counter, NativeCounter)
    for native in (True, False):
        assert counted(folder, native)[1] == first
    blocks = first[-1]
    code = {b.address: board.read_memory(b.address, b.size) for b in blocks}
    assert sum(b.runs * instructions_in(code[b.address]) for b in blocks) == board.instructions
    assert model(blocks, board.read_memory).cycles == board._counter.cycles
    plain = VirtualNano(folder)
    plain.run(20)
    assert (plain.instructions, plain._counter.cycles, plain.time_us) == first[:3]


def test_counts_agree_with_single_steps(write):
    from unicorn.unicorn_const import UC_HOOK_CODE

    board = VirtualNano(write(COUNTED))
    steps = Counter()
    board._machine.uc.hook_add(UC_HOOK_CODE, lambda _, address, *__: steps.update([address]))
    board.profile()
    board.run(5)
    counted = Counter()
    for block in board.blocks():
        at = block.address
        while at < block.address + block.size:
            counted[at] += block.runs
            at += 4 if board.read_memory(at + 1, 1)[0] >= 0xE8 else 2
    assert counted.total() == board.instructions
    assert not steps - counted
    # The emulator does not step on what an IT block skips; the processor spends a cycle on it.
    for address in counted - steps:
        assert 0xBF in board.read_memory(address - 8, 8)[1::2]


def test_slices_do_not_change_the_course(write):
    whole, sliced = VirtualNano(write(COUNTED)), VirtualNano(write(COUNTED))
    whole.run(10)
    for _ in range(100):
        sliced.run(0.1)
    assert sliced.instructions == whole.instructions
    assert sliced.serial.text == whole.serial.text


def test_the_stack_mark_grows_with_the_frames(write):
    def mark(size):
        body = f"volatile char big[{size}]; for (int i = 0; i < {size}; i++) big[i] = i;"
        board = VirtualNano(write(once(body)))
        board.run(10)
        return board.stack_used

    assert mark(3000) - mark(1000) == 2000


def test_two_boards_at_once_do_not_disturb_each_other(write):
    folder = write(ECHO)
    one, two = VirtualNano(folder), VirtualNano(folder)
    for board, word in ((one, "first"), (two, "second")):
        board.run_until("ready\r\n")
        board.serial.write(word)
    for _ in range(10):
        one.run(1)
        two.run(1)
    assert one.serial.text == "ready\r\nfirst"
    assert two.serial.text == "ready\r\nsecond"


def test_reset_starts_afresh(write):
    board = VirtualNano(write(ECHO))
    board.serial.write("abc")
    board.run(10)
    first = board.instructions
    board.reset()
    assert board.instructions == board.time_us == 0
    board.serial.write("abc")
    board.run(10)
    assert board.instructions == first
    assert board.serial.text == "ready\r\nabc"


def test_variables_can_be_read_and_flash_is_not_written(write):
    board = VirtualNano(
        write("float w[4] = {1, 2, 3, 4};\n" + once("total += w[2];", "volatile float total;"))
    )
    board.run(1)
    np.testing.assert_array_equal(board.read_variable("w"), [1, 2, 3, 4])
    assert board.read_variable("total") == [3]
    with pytest.raises(KitError, match="no function or variable 'nothing'"):
        board.read_variable("nothing")
    with pytest.raises(KitError, match="is flash"):
        board._machine.write(0x10000, b"\0")


def test_random_numbers_repeat_with_the_seed(write):
    text = once("for (int i = 0; i < 5; i++) Serial.println(random(1000));")

    def draw(seed):
        board = VirtualNano(write(text), seed=seed)
        board.run(50)
        return board.serial.text

    assert draw(1) == draw(1) != draw(2)


def test_heap_and_c_plus_plus(write):
    text = """
    struct Node { int value; Node *next; virtual ~Node() {} };
    int made = 0;
    struct Start { Start() { made = 41; } } start;
    void setup() {
      Node *list = nullptr;
      for (int i = 0; i < 100; i++) list = new Node{};
      for (int i = 0; i < 1000; i++) { char *p = (char *)malloc(5000); p[4999] = 1; free(p); }
      Serial.println(made + (list != nullptr) + (malloc(300000) != nullptr));
      static const float once = micros();
      Serial.println(once < 1e6f);
    }
    void loop() {}
    """.replace("new Node{}", "new Node")
    for compiler in BOARD:
        board = VirtualNano(write(text), compiler=compiler)
        board.run(100)
        assert board.serial.read_lines() == ["42", "1"]


@pytest.mark.parametrize("compiler", BOARD)
def test_a_sketch_may_use_the_whole_c_library(write, compiler):
    """The pip compiler's full C library is linked only if a sketch needs it."""
    body = """
    char text[40];
    volatile float x = 0.5f;
    snprintf(text, sizeof text, "%d %s %.3f", 42, "abc", (double)tanhf(x));
    Serial.println(text);
    Serial.println(powf(x, 3.0f), 4);
    """
    board = VirtualNano(write(once(body, "#include <stdio.h>")), compiler=compiler)
    board.run(50)
    assert board.serial.read_lines() == ["42 abc 0.462", "0.1250"]
