// A thread pool.

#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// A hint to the processor that this thread spins.
inline void breathe() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// A few threads that share numbered tasks. They wait spinning for a moment, since the next phase comes at once, and
// then asleep, the caller too: on a busy machine a thread that spins keeps the processor from the one it waits for. Of
// a process that was forked only the caller is left: it does all tasks itself.
class Pool {
 public:
  explicit Pool(int threads) {
    try {
      for (int i = 1; i < threads; ++i) threads_.emplace_back([this, i] { serve(i); });
    } catch (const std::system_error&) {  // no more threads are to be had: fewer give the same bits
    }
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  int threads() const { return static_cast<int>(threads_.size()) + 1; }
  bool forked() const { return getpid() != owner_; }

  // Call task(number, thread) for every number below `count`, and return when all are done.
  void run(int count, const std::function<void(int, int)>& task) {
    if (threads_.empty() || count < 2 || forked()) {
      for (int i = 0; i < count; ++i) task(i, 0);
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      task_ = &task;
      count_ = count;
      next_ = 0;
      busy_ = static_cast<int>(threads_.size());
      round_.fetch_add(1);
    }
    wake_.notify_all();
    work(0);
    for (int spins = 0; busy_.load() > 0 && spins < kSpins; ++spins) breathe();
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [&] { return busy_.load() == 0; });
  }

 private:
  void work(int thread) {
    for (int i; (i = next_.fetch_add(1)) < count_;) (*task_)(i, thread);
  }

  void serve(int thread) {
    for (unsigned seen = 0;;) {
      for (int spins = 0; round_.load() == seen && spins < kSpins; ++spins) breathe();
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || round_.load() != seen; });
        if (stop_) return;
        seen = round_.load();
      }
      work(thread);
      if (busy_.fetch_sub(1) == 1) {  // the last one
        std::lock_guard<std::mutex> lock(mutex_);
        done_.notify_one();
      }
    }
  }

  static constexpr int kSpins = 20000;  // some tenths of a millisecond

  const pid_t owner_ = getpid();
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int, int)>* task_ = nullptr;
  int count_ = 0;
  bool stop_ = false;
  std::atomic<int> next_{0}, busy_{0};
  std::atomic<unsigned> round_{0};
};
