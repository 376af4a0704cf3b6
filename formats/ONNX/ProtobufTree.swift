// The tree of C structures that protobuf-c makes of a skeleton: one owner, one budget of memory, freed as a whole. What the structures say is
// read by TreeReader.swift.

internal import COnnxProto
internal import CProtobufC
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Counts what protobuf-c allocates, and refuses more than was agreed. What is freed on the way is not given back: that is little.
private final class MemoryBudget {
  /// What the system's allocator needs for a block besides its bytes, about.
  static let overhead = 16
  var remaining: Int
  var isExhausted = false

  init(bytes: Int) { remaining = bytes }

  func take(_ size: Int) -> Bool {
    guard size >= 0, size <= remaining - MemoryBudget.overhead else {
      isExhausted = true
      return false
    }
    remaining -= size + MemoryBudget.overhead
    return true
  }
}

/// Memory for protobuf-c, within a budget. Must outlive what is allocated with it.
@safe private struct BudgetedAllocator: ~Copyable {
  let budget: MemoryBudget
  let callbacks: UnsafeMutablePointer<ProtobufCAllocator>

  init(bytes: Int) {
    budget = MemoryBudget(bytes: bytes)
    unsafe callbacks = .allocate(capacity: 1)
    // The budget is kept alive by this value, so that the callbacks need not own it.
    unsafe callbacks.initialize(to: ProtobufCAllocator(
      alloc: { data, size in
        guard let data = unsafe data else { return nil }
        let budget = unsafe Unmanaged<MemoryBudget>.fromOpaque(data).takeUnretainedValue()
        guard let bytes = Int(exactly: size), budget.take(bytes) else { return nil }
        return unsafe malloc(max(bytes, 1))
      },
      free: { _, pointer in unsafe free(pointer) },
      allocator_data: Unmanaged.passUnretained(budget).toOpaque()))
  }

  deinit {
    unsafe callbacks.deinitialize(count: 1)
    unsafe callbacks.deallocate()
  }
}

/// The messages of a model, as C structures.
@safe final class ProtobufTree {
  let model: UnsafeMutablePointer<Onnx__ModelProto>
  private let allocator: BudgetedAllocator

  /// Decodes a skeleton that the scan made. `budget` bounds what protobuf-c may allocate, in bytes.
  init(skeleton: [UInt8], budget: Int) throws(OnnxProblem) {
    let memory = BudgetedAllocator(bytes: budget)
    let tree = unsafe skeleton.withUnsafeBufferPointer { unsafe onnx__model_proto__unpack(memory.callbacks, $0.count, $0.baseAddress) }
    guard let tree = unsafe tree else {
      throw memory.budget.isExhausted ? .tooLarge(limit: budget) : .undecodable
    }
    unsafe model = tree
    allocator = memory
  }

  deinit { unsafe onnx__model_proto__free_unpacked(model, allocator.callbacks) }

  // Messages in fields that are later than the generated code; the same budget bounds them. Each is freed when `body` is done.

  func withAttribute<R>(_ bytes: UnsafeBufferPointer<UInt8>, _ body: (UnsafeMutablePointer<Onnx__AttributeProto>) throws(OnnxProblem) -> R)
    throws(OnnxProblem) -> R {
    guard let message = unsafe onnx__attribute_proto__unpack(allocator.callbacks, bytes.count, bytes.baseAddress) else { throw failure }
    defer { unsafe onnx__attribute_proto__free_unpacked(message, allocator.callbacks) }
    return try unsafe body(message)
  }

  func withValueInfo<R>(_ bytes: UnsafeBufferPointer<UInt8>, _ body: (UnsafeMutablePointer<Onnx__ValueInfoProto>) throws(OnnxProblem) -> R)
    throws(OnnxProblem) -> R {
    guard let message = unsafe onnx__value_info_proto__unpack(allocator.callbacks, bytes.count, bytes.baseAddress) else { throw failure }
    defer { unsafe onnx__value_info_proto__free_unpacked(message, allocator.callbacks) }
    return try unsafe body(message)
  }

  func withProperty<R>(_ bytes: UnsafeBufferPointer<UInt8>, _ body: (UnsafeMutablePointer<Onnx__StringStringEntryProto>) throws(OnnxProblem) -> R)
    throws(OnnxProblem) -> R {
    guard let message = unsafe onnx__string_string_entry_proto__unpack(allocator.callbacks, bytes.count, bytes.baseAddress) else { throw failure }
    defer { unsafe onnx__string_string_entry_proto__free_unpacked(message, allocator.callbacks) }
    return try unsafe body(message)
  }

  private var failure: OnnxProblem { allocator.budget.isExhausted ? .tooLarge(limit: allocator.budget.remaining) : .undecodable }
}
