/* params: the memory layer's parameters, by number.  Their lines (name, shape, start) are in the
 * one list of a model's parameters (model/params.h). */
#ifndef SMFT__MEMORY_PARAMS_H
#define SMFT__MEMORY_PARAMS_H
enum {
  SMFT__M_QUERY, /* (H*dk, d; head, half, dk/2) */
  SMFT__M_QUERY_BIAS,
  SMFT__M_GATE, /* (dv, d) */
  SMFT__M_GATE_BIAS,
  SMFT__M_OUT, /* (d, dv) */
  SMFT__M_OUT_BIAS,
  SMFT__M_KEYS,       /* (H, 2, n, dk/2) */
  SMFT__M_QUERY_NORM, /* (dk/2), as the three that follow */
  SMFT__M_QUERY_NORM_BIAS,
  SMFT__M_KEY_NORM,
  SMFT__M_KEY_NORM_BIAS,
  SMFT__M_ALPHA, /* (1) of `beside`: the block multiplies with it, not the layer */
  SMFT__N_MEMORY_PARAMS
};
#endif
