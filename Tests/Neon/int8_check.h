/* The part of the kernel check that is about int8; 1 where something is wrong. */
int int8_check(void);
/* The same for bf16. */
int bf16_check(void);
