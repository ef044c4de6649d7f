#include <Arduino.h>

namespace {
/* Print into a String. */
class Printer : public Print {
public:
  explicit Printer(String &text) : text_(text) {}
  size_t write(uint8_t byte) override { return text_.concat((char)byte); }

private:
  String &text_;
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }
char upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 32) : c; }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
}

String::String(unsigned char value, unsigned char base) : String((unsigned long)value, base) {}
String::String(int value, unsigned char base) : String((long)value, base) {}
String::String(unsigned int value, unsigned char base) : String((unsigned long)value, base) {}
String::String(long value, unsigned char base) { Printer(*this).print(value, base); }
String::String(unsigned long value, unsigned char base) { Printer(*this).print(value, base); }
String::String(float value, unsigned char decimals) : String((double)value, decimals) {}
String::String(double value, unsigned char decimals) { Printer(*this).print(value, decimals); }
String::~String() { free(text_); }

void String::take(String &other) {
  text_ = other.text_;
  capacity_ = other.capacity_;
  length_ = other.length_;
  other.text_ = nullptr;
  other.capacity_ = other.length_ = 0;
}

String &String::operator=(const String &other) {
  if (this == &other) return *this;
  length_ = 0;
  append(other.c_str(), other.length_);
  return *this;
}

String &String::operator=(String &&other) {
  if (this == &other) return *this;
  free(text_);
  take(other);
  return *this;
}

String &String::operator=(const char *text) { return *this = String(text); }

bool String::reserve(unsigned int size) {
  if (text_ && size <= capacity_) return true;
  char *bigger = (char *)realloc(text_, size + 1);
  if (!bigger) return false;
  text_ = bigger;
  text_[length_] = '\0';
  capacity_ = size;
  return true;
}

bool String::append(const char *text, unsigned int length) {
  if (!text) return false;
  const unsigned int total = length_ + length;
  const bool own = text_ && text >= text_ && text <= text_ + length_;
  const unsigned int offset = own ? (unsigned int)(text - text_) : 0;
  if (!reserve(total > capacity_ ? max(total, 2 * capacity_) : total)) return false;
  memmove(text_ + length_, own ? text_ + offset : text, length);
  length_ = total;
  text_[total] = '\0';
  return true;
}

bool String::equalsIgnoreCase(const String &other) const {
  if (length_ != other.length_) return false;
  for (unsigned int i = 0; i < length_; i++)
    if (lower(text_[i]) != lower(other.text_[i])) return false;
  return true;
}

bool String::startsWith(const String &prefix, unsigned int offset) const {
  return offset + prefix.length_ <= length_ &&
         memcmp(c_str() + offset, prefix.c_str(), prefix.length_) == 0;
}

bool String::endsWith(const String &suffix) const {
  return suffix.length_ <= length_ && startsWith(suffix, length_ - suffix.length_);
}

char &String::operator[](unsigned int index) {
  static char nowhere;
  nowhere = '\0';
  return index < length_ ? text_[index] : nowhere;
}

void String::toCharArray(char *buffer, unsigned int size, unsigned int index) const {
  if (size == 0) return;
  const unsigned int count = index < length_ ? min(length_ - index, size - 1) : 0;
  memcpy(buffer, c_str() + min(index, length_), count);
  buffer[count] = '\0';
}

int String::indexOf(char c, unsigned int from) const {
  for (unsigned int i = from; i < length_; i++)
    if (text_[i] == c) return (int)i;
  return -1;
}

int String::indexOf(const String &text, unsigned int from) const {
  for (unsigned int i = from; i + text.length_ <= length_; i++)
    if (startsWith(text, i)) return (int)i;
  return -1;
}

int String::lastIndexOf(char c) const {
  for (unsigned int i = length_; i > 0; i--)
    if (text_[i - 1] == c) return (int)i - 1;
  return -1;
}

String String::substring(unsigned int begin, unsigned int end) const {
  if (begin > end) return substring(end, begin);
  if (begin >= length_) return String();
  return String(text_ + begin, min(end, length_) - begin);
}

void String::replace(char find, char by) {
  for (unsigned int i = 0; i < length_; i++)
    if (text_[i] == find) text_[i] = by;
}

void String::replace(const String &find, const String &by) {
  if (find.length_ == 0) return;
  String result;
  unsigned int from = 0;
  for (int at; (at = indexOf(find, from)) >= 0; from = (unsigned int)at + find.length_) {
    result.concat(text_ + from, (unsigned int)at - from);
    result.concat(by);
  }
  result.concat(c_str() + from, length_ - from);
  *this = result;
}

void String::remove(unsigned int index, unsigned int count) {
  if (index >= length_) return;
  count = min(count, length_ - index);
  memmove(text_ + index, text_ + index + count, length_ - index - count + 1);
  length_ -= count;
}

void String::toLowerCase() {
  for (unsigned int i = 0; i < length_; i++) text_[i] = lower(text_[i]);
}

void String::toUpperCase() {
  for (unsigned int i = 0; i < length_; i++) text_[i] = upper(text_[i]);
}

void String::trim() {
  unsigned int begin = 0, end = length_;
  while (begin < end && is_space(text_[begin])) begin++;
  while (end > begin && is_space(text_[end - 1])) end--;
  remove(end);
  remove(0, begin);
}

long String::toInt() const { return strtol(c_str(), nullptr, 10); }
double String::toDouble() const { return strtod(c_str(), nullptr); }
