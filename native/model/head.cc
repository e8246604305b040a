#include "model/head.h"

#include "model/classifier_head.h"
#include "model/language_head.h"

namespace fltac {

std::unique_ptr<Head> Head::of(const PassContext& pass) {
  if (pass.architecture.family->output == Output::Classes) return std::make_unique<ClassifierHead>(pass);
  return std::make_unique<LanguageHead>(pass);
}

}  // namespace fltac
