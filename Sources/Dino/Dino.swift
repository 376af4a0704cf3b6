// Dino: placeholder until the room is built.
