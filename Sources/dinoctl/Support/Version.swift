// The version of the tool, as --version says it and as files record it.

let toolVersion = "0.1.0"
/// As it stands in a file's provenance.
let toolName = "dinoctl \(toolVersion)"
