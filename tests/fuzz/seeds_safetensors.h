/* seeds_safetensors: what replay.c begins with and puts in: safetensors headers, JSON. */
static const struct {
  const char *header;
  size_t data;
} seeds[] = {
    {"{}", 0},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}", 16},
    {"{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_"
     "offsets\":[0,6]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[6,7]}}  ",
     7},
    {"{\"x\":{\"dtype\":\"I64\",\"shape\":[0,9223372036854775807],\"data_offsets\":[0,0]},"
     "\"y\":{\"dtype\":\"F16\",\"shape\":[1,1,1,1,1,1,1,2],\"data_offsets\":[0,4]}}",
     4},
    {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[4,0]}}",
     4},
};
#define N_SEEDS (sizeof seeds / sizeof *seeds)

static const char *const texts[] = {"9223372036854775807",
                                    "-1",
                                    "4294967296",
                                    "0",
                                    "1e999",
                                    "\"F32\"",
                                    "\"BOOL\"",
                                    "\"__metadata__\"",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    ",",
                                    ":",
                                    "\"",
                                    "\\u0000",
                                    "\xFF",
                                    "null",
                                    "\"data_offsets\":[0,4]",
                                    "\"shape\":[4611686018427387904,2]"};
#define N_PIECES (sizeof texts / sizeof *texts)

static void set_length(input *one, uint64_t length) {
  for (int i = 0; i < 8; i++)
    one->bytes[i] = (uint8_t)(length >> (8 * i));
}

static input make_seed(size_t which) {
  input one = {.size = 8};
  size_t length = strlen(seeds[which].header);
  set_length(&one, length);
  memcpy(one.bytes + 8, seeds[which].header, length);
  one.size += length + seeds[which].data;
  return one;
}

static const char *piece(size_t which, size_t *size) {
  *size = strlen(texts[which]);
  return texts[which];
}

/* Mostly a header of the right length, else nothing behind it is ever read. */
static void settle(input *one, size_t which) {
  if (one->size >= 8 + seeds[which].data)
    set_length(one, one->size - 8 - seeds[which].data);
}
