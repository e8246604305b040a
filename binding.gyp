{
  # For `node-gyp rebuild` and `npm rebuild`: hands over to the CMake build, which finds or installs libtorch.
  "targets": [
    {
      "target_name": "fltac",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake_build",
          "message": "building the native engine with CMake",
          "inputs": [],
          "outputs": ["<(PRODUCT_DIR)/always-run-cmake"],
          "action": ["node", "<(module_root_dir)/scripts/build-native.mjs"],
        }
      ],
    }
  ]
}
