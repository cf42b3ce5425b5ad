// One number a place: a Value gathers its four from rows that lie params.valueStride apart.
alias Storage = f32;
