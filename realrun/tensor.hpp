#pragma once
// Tensors of a real run, with the lifetimes that the Program gives them.
//
// What a micro-batch keeps of a layer lies in buffers that the Program allocates and frees
// (core/program.hpp, Buffer). A Lifetime is one such buffer: tensors are made in it while it is
// live and are gone when it is freed. Reading a tensor that was never made, or whose buffer was
// freed, is an error of the plan that is carried out, thrown as ProgramError with the tensor's
// name; so is making one in a buffer that is not live. Tensors that live within one pass through a
// layer only have the transient lifetime, which the layer's code ends itself.
//
// A meter counts the bytes of all tensors of a rank and their peak. Tensors of one frame are used
// by one worker at a time (the Program's dependencies order them); the meter by several.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <vector>

namespace orrery {

// The Program (or its schedule) is wrong: it asks for what cannot be carried out.
class ProgramError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class MemoryMeter {
 public:
  void add(std::int64_t bytes) {
    const std::int64_t now = live_.fetch_add(bytes) + bytes;
    std::int64_t most = peak_.load();
    while (now > most && !peak_.compare_exchange_weak(most, now)) {
    }
  }
  std::int64_t live() const { return live_.load(); }
  std::int64_t peak() const { return peak_.load(); }

 private:
  std::atomic<std::int64_t> live_{0};
  std::atomic<std::int64_t> peak_{0};
};

// Leaves new elements unset: whoever makes a tensor writes all of it.
template <class T>
struct UnsetAllocator : std::allocator<T> {
  template <class U>
  struct rebind {
    using other = UnsetAllocator<U>;
  };
  template <class U>
  void construct(U* place) {
    ::new (static_cast<void*>(place)) U;
  }
};

class TensorBase {
 public:
  explicit TensorBase(const char* name) : name_(name) {}
  TensorBase(const TensorBase&) = delete;
  TensorBase& operator=(const TensorBase&) = delete;
  virtual ~TensorBase() = default;
  virtual void drop() = 0;
  const char* name() const { return name_; }

 protected:
  const char* name_;
};

class Lifetime {
 public:
  // `what` as in to_string(BufferKind). The transient lifetime is always live.
  Lifetime(const char* what, MemoryMeter& meter, bool always_live = false)
      : what_(what), meter_(&meter), state_(always_live ? State::kLive : State::kNone) {}

  void allocate() {
    if (state_ == State::kLive) throw ProgramError(fmt::format("{}: allocated twice", what_));
    state_ = State::kLive;
  }
  void release() {
    if (state_ == State::kNone)
      throw ProgramError(fmt::format("{}: freed but never allocated", what_));
    if (state_ == State::kFreed) throw ProgramError(fmt::format("{}: freed twice", what_));
    drop_all();
    state_ = State::kFreed;
  }
  // Between steps.
  void reset() {
    drop_all();
    if (state_ == State::kFreed) state_ = State::kNone;
  }
  bool live() const { return state_ == State::kLive; }
  bool freed() const { return state_ == State::kFreed; }
  const char* what() const { return what_; }
  MemoryMeter& meter() { return *meter_; }

  void enter(TensorBase& tensor) {
    const std::lock_guard lock(mutex_);
    tensors_.push_back(&tensor);
  }
  void leave(TensorBase& tensor) {
    const std::lock_guard lock(mutex_);
    std::erase(tensors_, &tensor);
  }
  void drop_all() {
    std::vector<TensorBase*> all;
    {
      const std::lock_guard lock(mutex_);
      all.swap(tensors_);
    }
    for (TensorBase* tensor : all) tensor->drop();
  }

 private:
  enum class State { kNone, kLive, kFreed };
  const char* what_;
  MemoryMeter* meter_;
  State state_;
  // A weight gradient and an exchange can work on a frame at the same time, on different tensors.
  std::mutex mutex_;
  std::vector<TensorBase*> tensors_;
};

// Elements of type T; made in a lifetime, read until that ends.
template <class T>
class Tensor : public TensorBase {
 public:
  using TensorBase::TensorBase;
  ~Tensor() override { drop(); }

  // Fresh elements, unset (zero is not promised to users; they write all).
  T* make(Lifetime& lifetime, std::int64_t elements) {
    if (!lifetime.live()) {
      throw ProgramError(fmt::format("'{}' is made while its buffer ({}) {}", name_,
                                     lifetime.what(),
                                     lifetime.freed() ? "has been freed" : "is not allocated"));
    }
    drop();
    data_.resize(static_cast<std::size_t>(elements));
    take_place(lifetime);
    return data_.data();
  }
  T* make_zero(Lifetime& lifetime, std::int64_t elements) {
    T* values = make(lifetime, elements);
    std::fill(values, values + elements, T{});
    return values;
  }
  // The elements of `other`, which is empty afterwards.
  T* take(Lifetime& lifetime, Tensor& other) {
    other.check();
    if (!lifetime.live()) {
      throw ProgramError(fmt::format("'{}' is made while its buffer ({}) {}", name_,
                                     lifetime.what(),
                                     lifetime.freed() ? "has been freed" : "is not allocated"));
    }
    drop();
    Elements values = std::move(other.data_);
    other.forget();
    data_ = std::move(values);
    take_place(lifetime);
    return data_.data();
  }
  T* copy(Lifetime& lifetime, Tensor& other) {
    other.check();
    T* values = make(lifetime, other.size());
    std::copy(other.data_.begin(), other.data_.end(), values);
    return values;
  }

  T* get() {
    check();
    return data_.data();
  }
  std::int64_t size() const { return static_cast<std::int64_t>(data_.size()); }
  bool made() const { return lifetime_ != nullptr; }

  void drop() override {
    if (lifetime_ == nullptr) return;
    lifetime_->leave(*this);
    forget();
    Elements().swap(data_);
  }

 private:
  using Elements = std::vector<T, UnsetAllocator<T>>;

  void check() const {
    if (lifetime_ != nullptr) return;
    throw ProgramError(was_made_ ? fmt::format("'{}' is used after its buffer was freed", name_)
                                 : fmt::format("'{}' is used before it was made", name_));
  }
  void take_place(Lifetime& lifetime) {
    lifetime_ = &lifetime;
    was_made_ = true;
    bytes_ = static_cast<std::int64_t>(data_.size() * sizeof(T));
    lifetime.enter(*this);
    lifetime.meter().add(bytes_);
  }
  void forget() {
    if (lifetime_ == nullptr) return;
    lifetime_->meter().add(-bytes_);
    lifetime_->leave(*this);
    lifetime_ = nullptr;
  }

  Elements data_;
  Lifetime* lifetime_ = nullptr;
  std::int64_t bytes_ = 0;
  bool was_made_ = false;
};

}  // namespace orrery
