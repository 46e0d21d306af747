#ifndef CAFFE_LAST_WORDS_HPP_
#define CAFFE_LAST_WORDS_HPP_

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <ctime>
#include <string>

#include "glog/logging.h"

namespace caffe {

/**
 * A message that is printed if Caffe ends the process: after the line with the
 * reason of a failed check, in place of a stack trace, or after a crash.
 */
class LastWords {
 public:
  /// Prints `words` in these cases from now on; "" restores the usual behaviour.
  static void Set(const std::string& words) {
    static Sink sink;
    static struct sigaction before[SIGNALS];
    if (Words()[0]) {
      google::RemoveLogSink(&sink);
      for (int i = 0; i < SIGNALS; ++i) {
        sigaction(Signals()[i].number, &before[i], NULL);
      }
    }
    strncpy(Words(), words.c_str(), SIZE - 1);
    if (Words()[0]) {
      google::AddLogSink(&sink);
      struct sigaction action = {};
      action.sa_handler = &OnSignal;
      for (int i = 0; i < SIGNALS; ++i) {
        sigaction(Signals()[i].number, &action, &before[i]);
      }
    }
  }

 private:
  static const int SIZE = 8192;
  static const int SIGNALS = 5;
  struct Signal { int number; const char* name; };

  static const Signal* Signals() {
    static const Signal signals[SIGNALS] = {{SIGSEGV, "SIGSEGV"},
        {SIGBUS, "SIGBUS"}, {SIGFPE, "SIGFPE"}, {SIGILL, "SIGILL"},
        {SIGABRT, "SIGABRT"}};
    return signals;
  }

  static char* Words() {
    static char words[SIZE];
    return words;
  }

  static void OnSignal(int number) {
    const char* name = "a signal";
    for (int i = 0; i < SIGNALS; ++i) {
      if (Signals()[i].number == number) { name = Signals()[i].name; }
    }
    dprintf(STDERR_FILENO, "\nerror: Caffe was ended by %s: %s\n", name,
        Words());
    signal(number, SIG_DFL);
    raise(number);
  }

  /// glog calls its sinks at a failed check before it prints a stack trace.
  struct Sink : google::LogSink {
    using google::LogSink::send;
    void send(google::LogSeverity severity, const char*, const char*, int,
        const std::tm*, const char*, size_t) {
      if (severity == google::GLOG_FATAL) {
        dprintf(STDERR_FILENO, "error: Caffe refuses to go on, for the reason "
            "above: %s\n", Words());
        _exit(2);
      }
    }
  };
};

}  // namespace caffe

#endif  // CAFFE_LAST_WORDS_HPP_
