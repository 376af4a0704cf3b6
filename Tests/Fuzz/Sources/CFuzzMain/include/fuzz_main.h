int dino_fuzz_main(int argc, char **argv);
