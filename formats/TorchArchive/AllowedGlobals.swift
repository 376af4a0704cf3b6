// The list of names that a pickle may use, and what each stands for here. Everything else is refused. Nothing on it runs code:
// each is a shape of data that `Unpickler+Calls.swift` builds itself.

internal import DinoTensor

/// What an allowed name stands for.
enum AllowedGlobal: Sendable, Equatable {
  // Tensors.
  case rebuildTensor, rebuildTensorV2, rebuildTensorV3, rebuildParameter, rebuildParameterWithState
  case storageType(DType), untypedStorage, typedStorage
  case dtype(String), size, device
  // Python's own containers and scalars.
  case dictionary, orderedDictionary, defaultDictionary, list, tuple, set, frozenSet
  case int, float, bool, string, bytes, byteArray, complex, slice
  case encode
  // What training scripts put beside the tensors.
  case namespace, path
  // NumPy.
  case numpyScalar, numpyReconstruct, numpyFromBuffer, numpyArray, numpyDType

  /// Looks a name up; nil is a refusal.
  static func named(module: String, name: String) -> AllowedGlobal? { table[module + "." + name] }

  /// Element types by the name torch gives them. Types that `DType` does not have are left out: a tensor of one is refused by name.
  static let elementTypes: [String: DType] = [
    "float32": .f32, "float16": .f16, "bfloat16": .bf16, "float64": .f64, "int64": .i64, "int32": .i32, "int16": .i16, "int8": .i8,
    "uint8": .u8, "uint16": .u16, "uint32": .u32, "uint64": .u64, "bool": .bool, "complex64": .c64,
    "float8_e4m3fn": .f8e4m3, "float8_e5m2": .f8e5m2, "float8_e4m3fnuz": .f8e4m3fnuz, "float8_e5m2fnuz": .f8e5m2fnuz, "float8_e8m0fnu": .f8e8m0,
  ]

  private static let table: [String: AllowedGlobal] = {
    var t: [String: AllowedGlobal] = [
      "torch._utils._rebuild_tensor": .rebuildTensor, "torch._utils._rebuild_tensor_v2": .rebuildTensorV2,
      "torch._utils._rebuild_tensor_v3": .rebuildTensorV3, "torch._utils._rebuild_parameter": .rebuildParameter,
      "torch._utils._rebuild_parameter_with_state": .rebuildParameterWithState,
      "torch.storage.UntypedStorage": .untypedStorage, "torch.UntypedStorage": .untypedStorage,
      "torch.storage.TypedStorage": .typedStorage, "torch.TypedStorage": .typedStorage,
      "torch.Size": .size, "torch.device": .device, "torch.torch_version.TorchVersion": .string,
      "collections.OrderedDict": .orderedDictionary, "collections.defaultdict": .defaultDictionary, "collections.Counter": .dictionary,
      "argparse.Namespace": .namespace, "_codecs.encode": .encode,
    ]
    for (name, type) in [("Float", DType.f32), ("Half", .f16), ("BFloat16", .bf16), ("Double", .f64), ("Long", .i64), ("Int", .i32),
                         ("Short", .i16), ("Char", .i8), ("Byte", .u8), ("Bool", .bool), ("ComplexFloat", .c64)] {
      t["torch.\(name)Storage"] = .storageType(type)
      t["torch.cuda.\(name)Storage"] = .storageType(type)
    }
    for name in elementTypes.keys { t["torch.\(name)"] = .dtype(name) }
    for name in ["complex128", "complex32"] { t["torch.\(name)"] = .dtype(name) }
    for module in ["builtins", "__builtin__"] {
      for (name, value) in [("set", AllowedGlobal.set), ("frozenset", .frozenSet), ("dict", .dictionary), ("list", .list), ("tuple", .tuple),
                            ("int", .int), ("float", .float), ("bool", .bool), ("str", .string), ("bytes", .bytes), ("bytearray", .byteArray),
                            ("complex", .complex), ("slice", .slice)] {
        t["\(module).\(name)"] = value
      }
    }
    t["__builtin__.long"] = .int
    t["__builtin__.unicode"] = .string
    for module in ["pathlib", "pathlib._local"] {
      for name in ["Path", "PosixPath", "PurePath", "PurePosixPath", "WindowsPath", "PureWindowsPath"] { t["\(module).\(name)"] = .path }
    }
    for core in ["numpy.core", "numpy._core"] {
      t["\(core).multiarray.scalar"] = .numpyScalar
      t["\(core).multiarray._reconstruct"] = .numpyReconstruct
      t["\(core).numeric._frombuffer"] = .numpyFromBuffer
    }
    t["numpy.ndarray"] = .numpyArray
    t["numpy.dtype"] = .numpyDType
    return t
  }()

  /// Whether `NEWOBJ` may make one: the classes, not the functions.
  var isClass: Bool {
    switch self {
    case .dictionary, .orderedDictionary, .defaultDictionary, .list, .tuple, .set, .frozenSet, .int, .float, .bool, .string, .bytes, .byteArray,
         .complex, .namespace, .path, .size: true
    case .rebuildTensor, .rebuildTensorV2, .rebuildTensorV3, .rebuildParameter, .rebuildParameterWithState, .storageType, .untypedStorage,
         .typedStorage, .dtype, .device, .slice, .encode, .numpyScalar, .numpyReconstruct, .numpyFromBuffer, .numpyArray, .numpyDType: false
    }
  }
}
