// OnnxConverterTests
