/* Arduino's String: text that grows on the heap. */
#pragma once

#include <stddef.h>
#include <string.h>

class __FlashStringHelper;
#define F(text) (reinterpret_cast<const __FlashStringHelper *>(text))

class String {
public:
  String(const char *text = "") { append(text, text ? strlen(text) : 0); }
  String(const char *text, unsigned int length) { append(text, length); }
  String(const __FlashStringHelper *text) : String(reinterpret_cast<const char *>(text)) {}
  String(const String &other) { append(other.c_str(), other.length_); }
  String(String &&other) { take(other); }
  explicit String(char c) { append(&c, 1); }
  explicit String(unsigned char value, unsigned char base = 10);
  explicit String(int value, unsigned char base = 10);
  explicit String(unsigned int value, unsigned char base = 10);
  explicit String(long value, unsigned char base = 10);
  explicit String(unsigned long value, unsigned char base = 10);
  explicit String(float value, unsigned char decimals = 2);
  explicit String(double value, unsigned char decimals = 2);
  ~String();

  String &operator=(const String &other);
  String &operator=(String &&other);
  String &operator=(const char *text);

  bool reserve(unsigned int size);
  unsigned int length() const { return length_; }
  bool isEmpty() const { return length_ == 0; }
  const char *c_str() const { return text_ ? text_ : ""; }
  explicit operator bool() const { return text_ != nullptr; }

  bool concat(const String &other) { return append(other.c_str(), other.length_); }
  bool concat(const char *text) { return append(text, text ? strlen(text) : 0); }
  bool concat(const char *text, unsigned int length) { return append(text, length); }
  bool concat(char c) { return append(&c, 1); }
  template <class T> bool concat(T value) { return concat(String(value)); }
  template <class T> String &operator+=(const T &value) { concat(value); return *this; }

  int compareTo(const String &other) const { return strcmp(c_str(), other.c_str()); }
  bool equals(const String &other) const { return compareTo(other) == 0; }
  bool equalsIgnoreCase(const String &other) const;
  bool startsWith(const String &prefix, unsigned int offset = 0) const;
  bool endsWith(const String &suffix) const;

  char charAt(unsigned int index) const { return index < length_ ? text_[index] : '\0'; }
  void setCharAt(unsigned int index, char c) { if (index < length_) text_[index] = c; }
  char operator[](unsigned int index) const { return charAt(index); }
  char &operator[](unsigned int index);
  void toCharArray(char *buffer, unsigned int size, unsigned int index = 0) const;

  int indexOf(char c, unsigned int from = 0) const;
  int indexOf(const String &text, unsigned int from = 0) const;
  int lastIndexOf(char c) const;
  String substring(unsigned int begin) const { return substring(begin, length_); }
  String substring(unsigned int begin, unsigned int end) const;

  void replace(char find, char by);
  void replace(const String &find, const String &by);
  void remove(unsigned int index, unsigned int count = (unsigned int)-1);
  void toLowerCase();
  void toUpperCase();
  void trim();

  long toInt() const;
  float toFloat() const { return (float)toDouble(); }
  double toDouble() const;

private:
  bool append(const char *text, unsigned int length);
  void take(String &other);

  char *text_ = nullptr;
  unsigned int capacity_ = 0; /* without the closing zero */
  unsigned int length_ = 0;
};

inline String operator+(String left, const String &right) { left.concat(right); return left; }
inline String operator+(String left, const char *right) { left.concat(right); return left; }
template <class T> String operator+(String left, T right) { left.concat(right); return left; }

inline bool operator==(const String &a, const String &b) { return a.equals(b); }
inline bool operator==(const String &a, const char *b) { return strcmp(a.c_str(), b) == 0; }
inline bool operator!=(const String &a, const String &b) { return !a.equals(b); }
inline bool operator!=(const String &a, const char *b) { return strcmp(a.c_str(), b) != 0; }
inline bool operator<(const String &a, const String &b) { return a.compareTo(b) < 0; }
inline bool operator>(const String &a, const String &b) { return a.compareTo(b) > 0; }
