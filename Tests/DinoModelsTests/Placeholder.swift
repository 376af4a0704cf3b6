// DinoModelsTests: placeholder until the room's tests are written.
